"""`cfrsam`: all commands behind one name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cfrsam_d2.commands.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
# Where completions go (argcomplete's protocol), and the script that a shell would call.
COMPLETE = "exec 8>&1 >/dev/null 2>&1; exec {python} -c '{code}'"
CODE = 'import sys; sys.argv[0] = "cfrsam"; from cfrsam_d2.commands.main import main; main()'


def words_after(line: str) -> list[str]:
    """What a shell would offer at the end of a line."""
    environment = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "COMP_TYPE": "9",
    }
    command = COMPLETE.format(python=sys.executable, code=CODE)
    found = subprocess.run(
        ["bash", "-c", command], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    return found.stdout.split()


def test_each_command_has_a_usage_of_its_own(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["cfrsam"])
    for name in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
        assert f"usage: cfrsam {name} [-h]" in " ".join(capsys.readouterr().out.split())


def test_help_lists_all_and_another_word_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in COMMANDS)
    for words in (["predic"], []):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    assert "predic" in capsys.readouterr().err


def test_evaluate_is_train_with_eval_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the clone's own output folder has."""
    config = str(ROOT / "configs/train_demo/cfrsam.yaml")
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--config-file", config, "OUTPUT_DIR", str(tmp_path)])
    assert stop.value.code == 2
    assert "there are no trained weights" in capsys.readouterr().err


def test_shells_complete_commands_and_options() -> None:
    assert words_after("cfrsam pre") == ["predict", "prepare"]
    assert words_after("cfrsam predict --form") == ["--formats"]
