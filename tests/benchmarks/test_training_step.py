"""A training step in three forms."""

from types import SimpleNamespace

import pytest

from benchmarks import training_step
from benchmarks.training_step import FORMS, measure


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What steps see of their model: crops and checkpoints; they end with it as it was."""
    bgmr = SimpleNamespace(checkpoint_activations="as before")
    head = SimpleNamespace(train_crop_sizes="as before", bgmr=bgmr)
    steps: list[tuple] = []

    def training_step_of(name: str, nuclei: int) -> tuple:
        assert name == "b"
        steps.append((head.train_crop_sizes, bgmr.checkpoint_activations))
        return SimpleNamespace(mask_head=head), lambda: steps.append(
            (head.train_crop_sizes, bgmr.checkpoint_activations)
        )

    monkeypatch.setattr(training_step, "training_step_of", training_step_of)
    monkeypatch.setattr(training_step, "run_apart", lambda work, *args: work(*args))
    return steps


def test_each_form_is_measured_as_such(seen: list[tuple]) -> None:
    for form, expected in FORMS.items():
        seconds, gigabytes = measure(form, nuclei=2, runs=2)
        assert seen[0] == ("as before", "as before")
        assert {*map(str, seen[1:])} == {str(expected)}
        assert seconds > 0
        assert gigabytes > 0.05
        seen.clear()


@pytest.mark.usefixtures("seen")
def test_all_forms_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training_step.py", "--nuclei", "2", "--runs", "1"])
    training_step.main()
    printed = capsys.readouterr().out
    assert "2 nuclei" in printed
    assert all(form in printed for form in FORMS)
