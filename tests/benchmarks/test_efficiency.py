"""Table 12's benchmark on a tiny model: what it times, what it counts, what it prints."""

import json

import pytest
import torch
from tiny_config import TINY

from benchmarks import efficiency
from benchmarks.efficiency import Case, Measurement, measure
from benchmarks.known_prompts import spread_points
from benchmarks.processes import run_apart
from cfrsam_d2.complexity import Cost
from cfrsam_d2.evaluation.paper_scores import EFFICIENCY


def case(nuclei: int) -> Case:
    return Case("b", "cpu", nuclei, runs=1, overrides=TINY)


def test_the_model_segments_the_known_prompts_in_their_crops() -> None:
    model = efficiency.build(case(25))
    learner_runs = []
    model.proposal_generator.neck.register_forward_hook(lambda *_: learner_runs.append(1))
    sizes = []
    model.mask_head.bgmr.mask_head.register_forward_hook(
        lambda module, args, output: sizes.append(tuple(output.shape))
    )
    with torch.inference_mode():
        (output,) = model([{"image": torch.zeros(3, 256, 256, dtype=torch.uint8)}])
    found = {tuple(point) for point in output["instances"].pred_points.tolist()}
    assert found <= {tuple(point) for point in spread_points(25).tolist()}
    assert learner_runs == [1]
    assert sizes == [(16, 1, 32, 32), (9, 1, 32, 32)]  # MODEL.MASK_HEAD.PROMPTS_PER_CHUNK is 16


@pytest.mark.slow
def test_a_process_of_its_own_measures() -> None:
    measured = run_apart(measure, case(1))
    assert measured.hardware.startswith("CPU, threads: ")
    assert measured.seconds > 0
    assert 1e8 < measured.peak_memory < 1e10  # bytes: PyTorch alone takes some hundred MB


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that are known beforehand: half a second, and 1 GB a nucleus."""
    monkeypatch.setattr(
        efficiency, "run_apart", lambda work, case: Measurement("CPU", 0.5, case.nuclei * 10**9)
    )
    cost = Cost(trainable=3, parameters=5, macs=70, macs_per_further_nucleus=2)
    monkeypatch.setattr(efficiency, "analyze_model", lambda cfg: {"total": cost})


@pytest.mark.usefixtures("quick")
def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    efficiency.main(["--models", "b", "--devices", "cpu", "--json", *TINY])
    *ours, paper = json.loads(capsys.readouterr().out)
    assert [each["nuclei"] for each in ours] == [1, 25, 100]
    assert [each["peak_memory"] for each in ours] == [1e9, 25e9, 100e9]
    assert {(each["parameters"], each["trainable"]) for each in ours} == {(5, 3)}
    assert [each["macs"] for each in ours] == [70, 70 + 24 * 2, 70 + 99 * 2]
    assert paper == {
        "model": "b",
        "hardware": "paper",
        "trainable": 63_400_000,
        "parameters": 153_100_000,
        "macs": 89_500_000_000,
        "seconds": 1 / EFFICIENCY["b"]["images_per_second"],
    }


def test_table() -> None:
    ours = {
        "model": "h",
        "hardware": "CPU",
        "nuclei": 25,
        "trainable": 73_918_000,
        "parameters": 710_950_000,
        "macs": 304_422_000_000,
        "seconds": 0.25,
        "peak_memory": 3_210_000_000,
    }
    table = efficiency.as_table([ours, *efficiency.papers_rows(["l", "h"])])
    *_, first, second = (line.split() for line in table.splitlines())
    assert first == ["ViT-H,", "CPU", "25", "73.9", "711.0", "304.4", "4", "3.21"]
    assert second == ["ViT-H,", "paper", "74.2", "650.5", "299.7", "7"]


def test_bad_arguments_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, message in [
        (["--runs", "0"], "--runs is 0: give 1 or more"),
        (["--models", "x"], "invalid choice: 'x'"),
        (["--models", "b", "--devices", "cuda"], "--devices has cuda, but there is none"),
    ]:
        with pytest.raises(SystemExit) as stop:
            efficiency.main(arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err
