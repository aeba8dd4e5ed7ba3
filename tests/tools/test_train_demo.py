"""The training demo says what it does before it does it; it is run for real by hand."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import train_demo  # noqa: E402


@pytest.mark.parametrize(("argument", "status"), [("--help", 0), ("--steps", 2)])
def test_nothing_starts_before_the_command_line_is_read(
    argument: str,
    status: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[tuple] = []
    monkeypatch.setattr(train_demo, "run_steps", lambda *step: started.append(step))
    with pytest.raises(SystemExit) as stop:
        train_demo.main([argument])
    assert stop.value.code == status
    printed = capsys.readouterr()
    assert ("python tools/train_demo.py" in printed.out) == (status == 0)
    assert started == []
