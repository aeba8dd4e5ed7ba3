"""A server for this machine alone: requests that name another one are refused.

A page of somebody else can let its own name mean 127.0.0.1 (DNS rebinding). The browser then takes
our answers for that page's own; but `Host` still has its name.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_REFUSAL = "This page answers this machine alone: open it at http://127.0.0.1 and its port.\n"


class LoopbackOnly:
    """Answers 403 unless `Host` is a loopback name, and `Origin`, if there is one, the same."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or is_from_this_machine(
            headers.getlist("host"), headers.getlist("origin")
        ):
            await self.app(scope, receive, send)
        else:
            await PlainTextResponse(_REFUSAL, status_code=403)(scope, receive, send)


def is_from_this_machine(hosts: list[str], origins: list[str]) -> bool:
    """Whether the one `Host` is localhost or a loopback address, and every `Origin` is its page.

    Args:
        hosts, origins: values of these headers.
    """
    if len(hosts) != 1 or not _is_loopback(hosts[0]):
        return False
    return all(origin.lower() == f"http://{hosts[0].lower()}" for origin in origins)


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # refuses what is none
        if parts.netloc != host or "@" in host:
            return False
        name = parts.hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
