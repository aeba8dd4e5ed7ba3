"""Commands one after the other: their numbers, logs, bars, and what ends them."""

import json
from pathlib import Path

import pytest

from cfrsam_d2.apps import steps
from cfrsam_d2.apps.steps import Steps, iterations_done


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(steps, "ROOT", tmp_path)
    return tmp_path


def test_each_step_has_a_number_a_log_and_a_bar(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Steps(Path("out"), 2)
    run.run("say hello", "-c", "print('hello')", seconds=40)
    script = "open('out/metrics.json', 'w').write('{\"iteration\": 6}\\n')"
    run.train("train", "-c", script, folder=Path("out"), iterations=7)
    printed = capsys.readouterr()
    assert "Step 1 of 2: say hello\n$ python -c print('hello')" in printed.out
    assert "Step 2 of 2: train" in printed.out
    assert (root / "out" / "step1.log").read_text() == "hello\n"
    assert "40/40" in printed.err
    assert "7/7" in printed.err


def test_a_step_that_fails_ends_the_program_and_shows_its_log(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"step 1 failed: .*step1\.log"):
        Steps(Path("out"), 1).run("fail", "-c", "raise ValueError('why')", seconds=9)
    assert "ValueError: why" in capsys.readouterr().err


def test_an_earlier_trainings_iterations_do_not_count(root: Path) -> None:
    (root / "metrics.json").write_text(json.dumps({"iteration": 99}) + "\n")
    Steps(Path("out"), 1).train("train", "-c", "pass", folder=Path(), iterations=7)
    assert not (root / "metrics.json").exists()


def test_iterations_are_those_of_the_last_whole_line(root: Path) -> None:
    metrics = root / "metrics.json"
    assert iterations_done(metrics) == 0
    metrics.write_text('{"iteration": 19}\n{"iteration": 39}\n{"itera')
    assert iterations_done(metrics) == 40
