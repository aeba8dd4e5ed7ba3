"""A headless Chromium that opens a page, and runs a script in it or presses keys."""

import html
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
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
_HARNESS = """
<script>
addEventListener("load", () => setTimeout(async () => {
  const result = {};
  const press = (key) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  const seen = (each) => each !== null && getComputedStyle(each).display !== "none"
    && each.getClientRects().length > 0;
  try { %s } catch (error) { result.error = String(error); }
  const output = document.createElement("pre");
  output.id = "result";
  output.textContent = JSON.stringify(result);
  document.body.append(output);
}, 0));
</script>
</body>"""


class Outcome(NamedTuple):
    """What the script put into `result`, and what the console said."""

    result: dict[str, Any]
    console: list[str]


def open_page(page: str, script: str, folder: Path, *options: str) -> Outcome:
    """Open a copy of a page with a script at its end.

    Args:
        page: HTML.
        script: JavaScript that fills `result`; it may `press(key)` and ask what is `seen(element)`.
        folder: for the copy and for the browser's own files.
        options: of Chromium.
    """
    file = folder / "page.html"
    file.write_text(page.replace("</body>", _HARNESS % script), encoding="utf-8")
    profile = f"--user-data-dir={folder / 'profile'}"
    command = [CHROMIUM, *_OPTIONS, profile, *options, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'<pre id="result">(.*?)</pre>', done.stdout)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    return Outcome(json.loads(html.unescape(found[1])), console)


def press_keys(page: str, keys: Sequence[str], expression: str, folder: Path) -> list[Any]:
    """Press keys as a keyboard does, with all that the browser itself makes of them.

    Args:
        page: HTML.
        keys: names of keys (`KeyboardEvent.key`), pressed one after the other.
        expression: JavaScript.
        folder: for the page and for the browser's own files.

    Returns:
        The value of the expression after each key.
    """
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    with _devtools(folder / "profile") as call:
        target = call("Target.createTarget", url=file.as_uri())["targetId"]
        session = call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

        def value(script: str) -> Any:
            answer = call("Runtime.evaluate", session, expression=script, returnByValue=True)
            return answer["result"].get("value")

        while not value('location.protocol === "file:" && document.readyState === "complete"'):
            time.sleep(0.05)  # at first, the page is empty
        values = []
        for key in keys:
            for kind in ("keyDown", "keyUp"):
                call("Input.dispatchKeyEvent", session, type=kind, key=key, **_KEYS[key])
            values.append(value(expression))
        return values


# What DevTools want to know of a key besides its name.
_KEYS = {
    "Tab": {"windowsVirtualKeyCode": 9},
    "Enter": {"windowsVirtualKeyCode": 13, "text": "\r"},
    "Escape": {"windowsVirtualKeyCode": 27},
    "ArrowLeft": {"windowsVirtualKeyCode": 37},
    "ArrowRight": {"windowsVirtualKeyCode": 39},
}


@contextmanager
def _devtools(profile: Path) -> Iterator[Any]:
    """Start Chromium and yield a function that calls a method of its DevTools protocol.

    Chromium reads messages from file descriptor 3 and writes them to 4; a zero byte ends each.
    """
    to_browser, from_browser = os.pipe(), os.pipe()
    command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
    shell = f'exec "$@" 3<&{to_browser[0]} 4>&{from_browser[1]}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", *command],
        pass_fds=(to_browser[0], from_browser[1]),
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser[0])
    os.close(from_browser[1])
    number = 0

    def call(method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": session} if session else {}
        os.write(to_browser[1], json.dumps(message).encode() + b"\0")
        while (answer := json.loads(_read_message(from_browser[0]))).get("id") != number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    try:
        yield call
    finally:
        process.terminate()
        process.wait()
        os.close(to_browser[1])
        os.close(from_browser[0])


def _read_message(descriptor: int) -> bytes:
    message = b""
    while not message.endswith(b"\0"):
        byte = os.read(descriptor, 1)
        assert byte, "Chromium has ended"
        message += byte
    return message[:-1]
