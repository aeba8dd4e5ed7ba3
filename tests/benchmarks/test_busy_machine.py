"""What another busy process costs: what is measured, in which setting, and the ratios."""

import json
import os
import subprocess
import sys

import pytest
from processes import busy_processes
from tiny_demo import TINY

from benchmarks import busy_machine
from benchmarks.busy_machine import STAGES, seconds_per_iteration, threads_wait
from cfrsam_d2.threads import WORDS


def waiting() -> dict[str, str]:
    """What a process that starts now reads of how it waits."""
    code = f"import os; print({{word: os.environ[word] for word in {WORDS} & os.environ.keys()}})"
    return eval(subprocess.check_output([sys.executable, "-c", code]))


def test_iterations_of_both_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(busy_machine, "WARM_UP", 0)
    for stage in STAGES:
        assert seconds_per_iteration(stage, 1, [*TINY, "SOLVER.IMS_PER_BATCH", "1"]) > 0


def test_processes_wait_as_they_are_told_inside_alone() -> None:
    before = waiting()
    with threads_wait({"GOMP_SPINCOUNT": "3"}):
        assert waiting() == {"GOMP_SPINCOUNT": "3"}
    assert waiting() == before


@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_busy_processes_end_with_the_block() -> None:
    def children() -> set[str]:
        return set(open(f"/proc/self/task/{os.getpid()}/children").read().split())

    before = children()
    with busy_processes(2):
        assert len(children() - before) == 2
    assert children() == before


def test_ratios(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of times that are known: asleep 1 s alone and 2 s beside, spinning 1 s and 8 s; 9 s once."""
    times = iter([1.0, 1.0, 8.0, 2.0, 1.0, 1.0, 8.0, 2.0, 9.0, 9.0, 9.0, 9.0] * 4)
    monkeypatch.setattr(busy_machine, "run_apart", lambda *_: next(times))
    busy_machine.main(["--json"])
    for each in json.loads(capsys.readouterr().out).values():
        ratios = {name: value for name, value in each.items() if "ratio" in name or "over" in name}
        assert ratios == {
            "default, ratio": 8,
            "here, ratio": 2,
            "alone, here over default": 1,
        }
    busy_machine.main([])
    table = capsys.readouterr().out
    assert ["cfrsam,", "default", "1.000", "8.000", "8.000"] in [
        line.split() for line in table.splitlines()
    ]
