"""README.md: its example runs, and the files that it links are there."""

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_the_example_finds_nuclei(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    region = "datasets/example/cmu1_region.tif"
    with Image.open(region) as image:  # a part of it is as good
        image.crop((300, 100, 428, 228)).save(tmp_path / "tile.png")
    (example,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    names: dict = {}
    assert region in example
    exec(example.replace(region, str(tmp_path / "tile.png")), names)
    count, name, *point = capsys.readouterr().out.split(maxsplit=2)
    assert int(count) == len(names["nuclei"]) > 5
    assert name in names["predictor"].classes
    assert point[0].startswith("tensor(")


def test_all_that_it_links_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", TEXT)
    files = [link for link in links if not link.startswith("https://")]
    assert len(files) > 10
    assert [name for name in files if not (ROOT / name).exists()] == []
