"""The quick start's table, last line and status; it is run for real by hand."""

import json
import re
import sys
from pathlib import Path

import pytest

from cfrsam_d2.apps import steps

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import quickstart  # noqa: E402


def write_results(root: Path, nuclei: int, bpq: float, f1: float) -> None:
    """What its steps leave behind."""
    csv = root / quickstart.OUTPUT / "tissue" / "cmu1_region.csv"
    metrics = root / quickstart.OUTPUT / "scored" / "inference" / quickstart.ANNOTATED
    for folder in (csv.parent, metrics):
        folder.mkdir(parents=True)
    csv.write_text("\n".join(["id,x,y", *("1,2,3" for _ in range(nuclei))]) + "\n")
    scores = {"segmentation": {"bPQ": bpq}, "detection": {"F1": f1}}
    (metrics / "metrics.json").write_text(json.dumps(scores))


@pytest.mark.parametrize(
    ("nuclei", "bpq", "f1", "failed"),
    [(380, 0.61, 0.83, []), (0, 0.61, 0.83, ["nuclei is 0"]), (380, 0.1, 0.2, ["bPQ", "F1"])],
)
def test_its_last_line_has_the_scores_and_its_status_says_whether_they_suffice(
    nuclei: int,
    bpq: float,
    f1: float,
    failed: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_results(tmp_path, nuclei, bpq, f1)
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    monkeypatch.setattr(quickstart, "ROOT", tmp_path)
    monkeypatch.setattr(quickstart, "run_steps", lambda run: None)
    with pytest.raises(SystemExit) as stop:
        quickstart.main([])
    printed = capsys.readouterr().out
    assert stop.value.code == bool(failed)
    assert printed.count("FAILED") == len(failed)
    assert all(f"FAILED: {each}" in printed for each in failed)
    last = printed.splitlines()[-1]
    assert last.startswith(f"quickstart: nuclei={nuclei} bPQ={bpq:.4f} F1_detection={f1:.4f} ")
    assert re.search(r"minutes=\d+\.\d$", last)


def test_nothing_starts_before_the_command_line_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quickstart, "run_steps", lambda run: pytest.fail("it started"))
    with pytest.raises(SystemExit) as stop:
        quickstart.main(["--steps"])
    assert stop.value.code == 2


def test_its_images_are_there_and_small() -> None:
    folder = ROOT / "datasets" / "example"
    assert (ROOT / quickstart.REGION).stat().st_size <= 1_000_000
    assert sum(file.stat().st_size for file in folder.rglob("*.*")) <= 2_000_000
    annotated = json.loads((folder / "annotated" / "nuclei.json").read_text())
    names = {image["file_name"] for image in annotated["images"]}
    assert names == {file.name for file in (folder / "annotated" / "images").iterdir()}
