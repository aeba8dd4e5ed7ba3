"""Images with a YAML of classes, and the command that prepares them."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from custom_labels import CLASSES_YAML, write_images

from cfrsam_d2.data.coco import load_nucleus_json

PREPARE = Path(__file__).resolve().parents[4] / "datasets" / "prepare.py"


@pytest.fixture
def main() -> Callable[[list[str]], None]:
    """The command line of datasets/prepare.py."""
    return runpy.run_path(str(PREPARE))["main"]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with images/ and classes.yaml."""
    write_images(tmp_path / "images")
    (tmp_path / "classes.yaml").write_text(CLASSES_YAML)
    return tmp_path


@pytest.fixture
def prepare(main: Callable, work: Path) -> Callable[..., list[dict]]:
    """A function: further arguments to the dataset that the command writes."""

    def run(*arguments: str, labels: str = "labels", output: str = "out") -> list[dict]:
        files = ["--labels", str(work / labels), "--classes", str(work / "classes.yaml")]
        main(["custom", str(work / "images"), *files, "--output", str(work / output), *arguments])
        return load_nucleus_json(work / output / "nuclei.json", work / output / "images")

    return run


@pytest.fixture
def failure(prepare: Callable, work: Path, capsys: pytest.CaptureFixture) -> Callable[..., str]:
    """A function: arguments as of `prepare` to the message with which the command stops."""

    def run(*arguments: str, **keys: str) -> str:
        with pytest.raises(SystemExit) as stop:
            prepare(*arguments, **keys)
        assert stop.value.code == 2
        assert not (work / "out").exists()
        assert not (work / ".out.partial").exists()
        return capsys.readouterr().err.replace(f"{work}/", "")

    return run
