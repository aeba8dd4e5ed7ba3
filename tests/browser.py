"""A headless Chromium that opens a page, and runs a script in it or presses keys."""

import atexit
import base64
import functools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed: `apt-get install chromium`"
)

_OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--enable-logging=stderr", "--v=0"),
]
# Keys and clicks as a user's; `result` is what the script has found.
_HARNESS = """(async () => {
  const result = {};
  const press = (key) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const seen = (each) => each !== null && getComputedStyle(each).display !== "none"
    && each.getClientRects().length > 0;
  try { %s } catch (error) { result.error = String(error); }
  return result;
})()"""


class Outcome(NamedTuple):
    """What the script put into `result`, and what the console said."""

    result: dict[str, Any]
    console: list[str]


def open_page(
    page: str,
    script: str,
    folder: Path,
    *,
    size: tuple[int, int] | None = None,
    scheme: str = "light",
) -> Outcome:
    """Open a page, and run a script in it once it is loaded.

    Args:
        page: HTML.
        script: JavaScript that fills `result`; it may `press(key)` and ask what is `seen(element)`.
        folder: for the page.
        size: width and height of the window, px; None: the browser's own.
        scheme: the colours that the user prefers, "light" or "dark".
    """
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    with visit(file.as_uri(), size=size, scheme=scheme) as tab:
        result = tab.value(_HARNESS % script)
        return Outcome(result, tab.console)


def press_keys(page: str, keys: Sequence[str], expression: str, folder: Path) -> list[Any]:
    """Press keys as a keyboard does, with all that the browser itself makes of them.

    Args:
        page: HTML.
        keys: names of keys (`KeyboardEvent.key`), pressed one after the other.
        expression: JavaScript.
        folder: for the page.

    Returns:
        The value of the expression after each key.
    """
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    values = []
    with visit(file.as_uri()) as tab:
        for key in keys:
            tab.press(key)
            values.append(tab.value(expression))
    return values


class Tab:
    """A page in a browser."""

    def __init__(
        self, call: Callable[..., dict[str, Any]], session: str, events: list[dict[str, Any]]
    ) -> None:
        self._call, self._session, self._events = call, session, events

    @property
    def requests(self) -> list[str]:
        """Addresses of all that the page has asked for."""
        return [each["request"]["url"] for each in self._of("Network.requestWillBeSent")]

    @property
    def console(self) -> list[str]:
        """All that the console says."""
        said = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        return [json.dumps(each) for method in said for each in self._of(method)]

    @property
    def errors(self) -> list[str]:
        """What was wrong, as the console says it."""
        entries = [each["entry"] for each in self._of("Log.entryAdded")]
        calls = self._of("Runtime.consoleAPICalled")
        return [
            *(json.dumps(each["exceptionDetails"]) for each in self._of("Runtime.exceptionThrown")),
            *(f"{each['text']} {each.get('url')}" for each in entries if each["level"] == "error"),
            *(json.dumps(each["args"]) for each in calls if each["type"] == "error"),
        ]

    def _of(self, method: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self._events if each["method"] == method]

    def value(self, script: str) -> Any:
        """What a JavaScript expression is, or what it promises."""
        answer = self._send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        return answer["result"].get("value")

    def wait_for(self, script: str, seconds: float = 300) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(script):
            assert time.monotonic() < end, (script, self.errors)
            time.sleep(0.05)

    def press(self, key: str, *, control: bool = False) -> None:
        modifiers = {"modifiers": 2} if control else {}
        for kind in ("keyDown", "keyUp"):
            event = {"type": kind, "key": key, **_KEYS.get(key, {}), **modifiers}
            self._send("Input.dispatchKeyEvent", **event)

    def click(self, x: float, y: float) -> None:
        """With the left button, at a place in px of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def point(self, x: float, y: float) -> None:
        """Move the pointer to a place in px of the window."""
        self._send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """With the left button, from place to place."""
        button = {"button": "left", "clickCount": 1}
        for kind, (x, y) in (("mousePressed", start), ("mouseMoved", end), ("mouseReleased", end)):
            self._send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **button)

    def wheel(self, x: float, y: float, delta: float) -> None:
        """Turn the wheel at a place; below 0 away from the user."""
        place = {"x": x, "y": y, "deltaX": 0, "deltaY": delta}
        self._send("Input.dispatchMouseEvent", type="mouseWheel", **place)

    def resize(self, width: int, height: int) -> None:
        """To a size in px, also one that is narrower than a window can be."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._send("Emulation.setDeviceMetricsOverride", **size)

    def prefer(self, scheme: str) -> None:
        """Let the user prefer colours, "light" or "dark"."""
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        self._send("Emulation.setEmulatedMedia", features=[preferred])

    def print_media(self) -> None:
        """Let the page look as it is printed."""
        self._send("Emulation.setEmulatedMedia", media="print")

    def screenshot(self) -> bytes:
        """A PNG of what is seen."""
        return base64.b64decode(self._send("Page.captureScreenshot")["data"])

    def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._call(method, self._session, **parameters)


@contextmanager
def visit(
    address: str, *, size: tuple[int, int] | None = None, scheme: str = "light"
) -> Iterator[Tab]:
    """Open a page, which knows nothing of those that were opened before.

    Args:
        address: its URL.
        size: see `open_page`.
        scheme: see `open_page`.
    """
    browser = _browser()
    context = browser.call("Target.createBrowserContext")["browserContextId"]
    try:
        where = {"url": "about:blank", "browserContextId": context}
        target = browser.call("Target.createTarget", **where)["targetId"]
        session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(browser.call, session, browser.events[session])
        for domain in ("Page", "Network", "Runtime", "Log"):
            browser.call(f"{domain}.enable", session)
        # As of the one window that a user looks at.
        browser.call("Emulation.setFocusEmulationEnabled", session, enabled=True)
        tab.prefer(scheme)
        if size:
            tab.resize(*size)
        browser.call("Page.navigate", session, url=address)
        protocol = address.partition("//")[0]
        tab.wait_for(f'location.protocol === "{protocol}" && document.readyState === "complete"')
        yield tab
    finally:
        browser.call("Target.disposeBrowserContext", browserContextId=context)


# What DevTools want to know of a key besides its name.
_KEYS = {
    "Tab": {"windowsVirtualKeyCode": 9},
    "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    "Escape": {"windowsVirtualKeyCode": 27},
    "ArrowLeft": {"windowsVirtualKeyCode": 37},
    "ArrowRight": {"windowsVirtualKeyCode": 39},
}


@functools.cache
def _browser() -> "_Browser":
    """One for all tests of this process, as it takes a second to start; it ends with them."""
    browser = _Browser()
    atexit.register(browser.close)
    return browser


class _Browser:
    """Chromium, spoken to in its DevTools protocol.

    It reads messages from file descriptor 3 and writes them to 4; a zero byte ends each.

    Attributes:
        events: what it has said unasked by session; each comes with the answer to the next call.
    """

    def __init__(self) -> None:
        # The browser's own files, hundreds of them: in memory, if there is room.
        shared_memory = Path("/dev/shm")
        place = shared_memory if os.access(shared_memory, os.W_OK) else None
        self._profile = tempfile.TemporaryDirectory(dir=place, ignore_cleanup_errors=True)
        to_browser, from_browser = os.pipe(), os.pipe()
        switches = [f"--user-data-dir={self._profile.name}", "--remote-debugging-pipe"]
        shell = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", CHROMIUM, *_OPTIONS, *switches],
            pass_fds=(to_browser[0], from_browser[1]),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        self._to, self._from = to_browser[1], from_browser[0]
        self._number = 0
        self.events: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method, and give its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := json.loads(_read_message(self._from))).get("id") != self._number:
            self.events[answer.get("sessionId", "")].append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()


def _read_message(descriptor: int) -> bytes:
    message = b""
    while not message.endswith(b"\0"):
        byte = os.read(descriptor, 1)
        assert byte, "Chromium has ended"
        message += byte
    return message[:-1]
