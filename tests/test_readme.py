"""README.md: its example runs, and the files that it links are there."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_the_example_gives_what_it_says() -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    names: dict = {}
    with torch.no_grad():
        exec(example, names)
    assert list(names["levels"]) == ["level0", "level1", "level2", "level3"]
    assert {level.shape for level in names["levels"].values()} == {(1, 256, 16, 16)}


def test_all_that_it_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    files = [link for link in links if not link.startswith("https://")]
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name).exists()] == []
