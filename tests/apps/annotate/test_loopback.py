"""The annotation page answers whoever calls it by a name of this machine, and nobody else."""

import http.client
import threading
from collections.abc import Iterator

import pytest

pytest.importorskip("uvicorn", reason="uvicorn is not installed: `pip install -e '.[annotate]'`")

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from cfrsam_d2.apps.annotate.loopback import LoopbackOnly, is_from_this_machine
from cfrsam_d2.apps.annotate.page import listening

OURS = [
    *("localhost", "LocalHost:7860", "127.0.0.1", "127.0.0.1:7860", "127.1.2.3:80"),
    *("[::1]", "[::1]:7860", "[0:0:0:0:0:0:0:1]:7860"),
]
OTHERS = [
    *("evil.example", "evil.example:7860", "localhost.evil.example", "127.0.0.1.evil.example"),
    *("evil.example@127.0.0.1", "127.0.0.1@evil.example", "10.0.0.1", "0.0.0.0:7860", "[::2]:1"),
    *("", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1/x", "127.0.0.1?x", "[::1", "2130706433"),
    *("localhost evil.example", "locаlhost", "127.0.0.1#x"),
]


def test_names_of_this_machine_are_known() -> None:
    for host in OURS:
        assert is_from_this_machine([host], []), host
        assert is_from_this_machine([host], [f"http://{host}"]), host
    for host in OTHERS:
        assert not is_from_this_machine([host], []), host
        assert not is_from_this_machine(["127.0.0.1:7860"], [f"http://{host}"]), host
    for hosts, origins in (
        ([], []),
        (["localhost", "localhost"], []),
        (["localhost", "evil.example"], []),
        (["127.0.0.1:7860"], ["null"]),
        (["127.0.0.1:7860"], ["http://127.0.0.1:3000"]),  # another page of this machine
        (["127.0.0.1:7860"], ["https://127.0.0.1:7860"]),
        (["127.0.0.1:7860"], ["http://localhost:7860"]),
    ):
        assert not is_from_this_machine(hosts, origins), (hosts, origins)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of a page that is served as the annotation page is."""
    route = Route("/config", lambda request: PlainTextResponse("served"))
    app = Starlette(routes=[route], middleware=[Middleware(LoopbackOnly)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with listening(None) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


def ask(port: int, headers: list[tuple[str, str]]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("GET", "/config", skip_host=True)
    for header in headers:
        connection.putheader(*header)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_server_refuses_other_names(port: int) -> None:
    for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"):
        for headers in ([], [("Origin", f"http://{host}")]):
            status, text = ask(port, [("Host", host), *headers])
            assert status == 200, host
            assert "served" in text
    for headers in (
        [("Host", f"evil.example:{port}")],
        [("Host", f"127.0.0.1:{port}"), ("Origin", "http://evil.example")],
    ):
        assert ask(port, headers) == (
            403,
            "This page answers this machine alone: open it at http://127.0.0.1 and its port.\n",
        )
