"""Every script reads its command line before it imports what takes seconds."""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import detectron2.engine
import pytest

import cfrsam_d2
from cfrsam_d2.commands import predict
from cfrsam_d2.commands.train import command_parser
from cfrsam_d2.export import FORMATS
from cfrsam_d2.memory import HUGE_PAGES
from cfrsam_d2.threads import WAITING, WORDS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = [
    ROOT / "train_net.py",
    ROOT / "datasets" / "prepare.py",
    *(file for file in sorted((ROOT / "tools").glob("*.py")) if file.name != "__init__.py"),
]
HEAVY = {"albumentations", "cv2", "detectron2", "matplotlib", "numpy", "scipy", "torch"}
# Calls a script with each argument, and prints how it ends and what it has imported by then.
CALL = """
import json, os, runpy, sys
script, *arguments = sys.argv[1:]
ends = []
for argument in arguments:
    sys.argv = [script, argument]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        ends.append(end.code)
print(json.dumps([ends, sorted(sys.modules), os.environ.get("OMP_WAIT_POLICY")]))
"""


def in_new_process(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Run Python code where nothing is said of threads or memory, but for `variables`."""
    said = {name: value for name, value in os.environ.items() if name not in {*WORDS, HUGE_PAGES}}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=said | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_usage_version_and_mistakes_need_no_torch(script: Path) -> None:
    done = in_new_process(CALL, str(script), "--help", "--version", "--nonsense")
    ends, modules, waiting = json.loads(done.stdout.splitlines()[-1])
    assert ends == [0, 0, 2]
    assert f"cfrsam_d2 {cfrsam_d2.__version__}" in done.stdout.splitlines()
    of_command = re.search(r"from cfrsam_d2\.commands\.(\w+) import main", script.read_text())
    called = f"cfrsam {of_command[1]} " if of_command else f"python {script.relative_to(ROOT)}"
    assert called in done.stdout  # the docstring
    assert "error: " in done.stderr
    assert not HEAVY & set(modules)
    assert waiting == "PASSIVE"  # before PyTorch loads OpenMP


def test_a_format_that_is_none_needs_no_torch() -> None:
    assert tuple(FORMATS) == predict.FORMATS
    code = (
        "import sys\nfrom tools.predict import main\ntry:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    )
    words = ["x.png", "--output", "x", "--config-file", "x.yaml", "--formats", "pdf"]
    done = in_new_process(code, *words)
    assert done.stdout.split() == ["2", "False"]
    assert "error: --formats has 'pdf': take some of geojson" in done.stderr


def test_what_the_user_says_of_waiting_threads_stands() -> None:
    code = f"import cfrsam_d2, os; print({{n: os.environ[n] for n in {WORDS} & os.environ.keys()}})"
    assert eval(in_new_process(code).stdout) == WAITING
    for said in ({"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}):
        assert eval(in_new_process(code, **said).stdout) == said


def test_large_tensors_have_large_pages_unless_the_user_says_otherwise() -> None:
    code = f"import cfrsam_d2, os; print(os.environ[{HUGE_PAGES!r}])"
    assert in_new_process(code).stdout.split() == ["1"]
    assert in_new_process(code, **{HUGE_PAGES: "0"}).stdout.split() == ["0"]


def test_benchmarks_and_tests_say_how_threads_wait_before_torch() -> None:
    files = [ROOT / "tests" / "conftest.py", *sorted((ROOT / "benchmarks").glob("*.py"))]
    files.remove(ROOT / "benchmarks" / "peers_models.py")  # its parent says it, by the environment
    with_torch = [text for text in map(Path.read_text, files) if "\nimport torch\n" in text]
    assert len(with_torch) > 5
    for text in with_torch:
        assert 0 < text.find("\nimport cfrsam_d2 ") < text.index("\nimport torch\n")


# Imports all of the package, and prints what came when.
IMPORT = """
import socket, sys
def refuse(*args): sys.exit(f"asked for {args}")
socket.getaddrinfo = refuse
import cfrsam_d2
before = "torch" in sys.modules
cfrsam_d2.add_cfrsam_config
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY
listed = "synthetic_test" in DatasetCatalog.list()
import cfrsam_d2.data.mapper
print(before, listed, "CFRSAM" in META_ARCH_REGISTRY)
"""


def test_the_names_of_the_package_come_when_they_are_asked_for_and_ask_no_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_ALBUMENTATIONS_UPDATE", raising=False)  # set by this process
    done = in_new_process(IMPORT, PYTHONPATH=os.pathsep.join(sys.path))
    assert done.stdout.split() == ["False", "True", "True"]
    for name in cfrsam_d2.__all__:
        assert getattr(cfrsam_d2, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        cfrsam_d2.nonsense  # noqa: B018


def switches(parser: argparse.ArgumentParser) -> dict[str, tuple[Any, ...]]:
    """All that a command line can have, but for what all of the project's have."""
    return {
        action.dest: (tuple(action.option_strings), action.default, action.type, action.nargs)
        for action in parser._actions
        if action.dest not in ("version", "verbose", "quiet")
    }


def test_training_has_the_switches_of_detectron2() -> None:
    ours = switches(command_parser())
    assert set(ours) == {
        *("help", "config_file", "resume", "eval_only", "opts"),
        *("num_gpus", "num_machines", "machine_rank", "dist_url"),
    }
    words = "--config-file a.yaml --resume --eval-only --num-gpus 2 --dist-url auto SEED 3 X.Y --z"
    args = command_parser().parse_args(words.split())
    assert (args.config_file, args.resume, args.eval_only) == ("a.yaml", True, True)
    assert (args.num_gpus, args.dist_url) == (2, "auto")
    assert args.opts == ["SEED", "3", "X.Y", "--z"]
    theirs = getattr(detectron2.engine, "default_argument_parser", None)  # not in the stand-in
    if theirs is not None:
        assert ours == switches(theirs())
