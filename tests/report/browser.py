"""A headless Chromium that opens a page, runs a script in it, and tells what came out."""

import html
import json
import re
import shutil
import subprocess
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
