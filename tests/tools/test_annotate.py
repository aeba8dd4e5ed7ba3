"""The command's bad input, said in one sentence."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools import annotate

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "train_demo" / "cfrsam.yaml")


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
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("uvicorn")
    cv2.imwrite(str(tmp_path / "tile.png"), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(SystemExit) as stop:
        annotate.main([str(tmp_path / "tile.png"), "--config-file", CONFIG, *arguments])
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
    image: str,
    output: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("uvicorn")
    (tmp_path / "in").mkdir()
    for name in ("tile.tiff", "other.png"):
        cv2.imwrite(str(tmp_path / "in" / name), np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(SystemExit) as stop:
        annotate.main(
            [str(tmp_path / image), "--config-file", CONFIG, "--output", str(tmp_path / output)]
        )
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_without_a_server_it_says_how_to_get_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "cfrsam_d2.apps.annotate.page", raising=False)
    with pytest.raises(SystemExit):
        annotate.main(["tile.png", "--config-file", CONFIG])
    assert "error: uvicorn is not installed: run `pip install 'cfrsam_d2[annotate]'`" in (
        capsys.readouterr().err
    )
