"""The doctor tells what is there, and whether a prediction works."""

from pathlib import Path

import pytest

from cfrsam_d2 import _version
from cfrsam_d2.apps import doctor
from cfrsam_d2.commands.doctor import main


def test_it_lists_what_matters_and_predicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "sam_vit_b_01ec64.pth").touch()
    main([])
    lines = capsys.readouterr().out.splitlines()
    found = {line.split("  ")[0].strip(): line for line in lines}
    assert _version.__version__ in found["cfrsam_d2"]
    assert {"Python", "torch", "Detectron2", "CUDA", "memory", "CPU threads"} <= set(found)
    assert "sam-b in weights/" in found["weights"]
    assert "works on" in found["a prediction"]


def test_a_prediction_that_fails_is_its_diagnosis(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise RuntimeError("no kernel image")

    monkeypatch.setattr(doctor, "NucleusPredictor", fail)
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 1
    assert "FAILED: RuntimeError: no kernel image" in capsys.readouterr().out


def test_a_package_that_is_missing_is_no_mistake() -> None:
    assert doctor.version("no-such-package") == "not installed"
