"""The command's bad input, and that its name hides no module of Python's."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "configs" / "quickstart" / "cfrsam.yaml")


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    path = ROOT / "tools" / "inspect.py" / "__main__.py"
    spec = importlib.util.spec_from_file_location("inspect_tool", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "--port is 70000: give 1 to 65535, or leave it out"),
        (["--prot", "7000"], "--prot is no option"),
        (["MODEL.WEIGHTS", "gone.pth"], "gone.pth does not exist"),
        (["MODEL.WEIGHT", "gone.pth"], "MODEL.WEIGHT"),
    ],
)
def test_bad_input_is_one_sentence(
    tool: ModuleType,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("gradio")
    cv2.imwrite(str(tmp_path / "tile.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(SystemExit) as stop:
        tool.main([str(tmp_path / "tile.png"), "--config-file", CONFIG, *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("image", "output", "message"),
    [
        ("in/tile.tiff", "in", "which results could overwrite: name another folder"),
        ("in", "out", "in has 2 images: name one of them"),
        ("gone.png", "out", "gone.png does not exist"),
    ],
)
def test_the_image_is_one_and_is_not_overwritten(
    tool: ModuleType,
    image: str,
    output: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("gradio")
    (tmp_path / "in").mkdir()
    for name in ("tile.tiff", "other.png"):
        cv2.imwrite(str(tmp_path / "in" / name), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(SystemExit) as stop:
        tool.main(
            [str(tmp_path / image), "--config-file", CONFIG, "--output", str(tmp_path / output)]
        )
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_without_gradio_it_says_how_to_get_it(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "cfrsam_d2.apps.annotate.page", raising=False)
    with pytest.raises(SystemExit):
        tool.main(["tile.png", "--config-file", CONFIG])
    assert "error: Gradio is not installed: run `pip install 'cfrsam_d2[inspect]'`" in (
        capsys.readouterr().err
    )


def test_scripts_beside_it_find_pythons_own_inspect() -> None:
    script = (
        "import sys; sys.path.insert(0, 'tools'); import inspect; print(inspect.signature(print))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("(*args"), done.stderr


def test_python_runs_the_folder() -> None:
    command = [sys.executable, "tools/inspect.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "python tools/inspect.py IMAGE" in done.stdout, done.stderr
