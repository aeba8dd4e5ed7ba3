"""The stand-in is small, never in the way of a real Detectron2, and looks like it."""

import ast
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import detectron2
import pytest
import standin_names

ROOT = Path(__file__).resolve().parents[2]
STANDIN = ROOT / "cfrsam_d2" / "standin"
RUNS_ON_STANDIN = STANDIN in Path(detectron2.__file__).parents
INSTALL = f"import runpy; runpy.run_path({str(STANDIN / '__init__.py')!r})['install_if_missing']()"


@pytest.fixture(scope="module")
def of_standin() -> dict:
    """The stand-in's description, from a process of its own: both have the same name."""
    if RUNS_ON_STANDIN:
        pytest.skip("Detectron2 is not installed: put a source tree of it on PYTHONPATH to compare")
    command = [sys.executable, standin_names.__file__, str(STANDIN)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def of_real(of_standin: dict) -> dict:
    described = {"names": standin_names.describe(), "config": standin_names.default_config()}
    return json.loads(json.dumps(described))


@pytest.mark.parametrize("path", standin_names.NAMES)
def test_every_name_is_where_it_belongs(path: str) -> None:
    module = importlib.import_module(path)
    missing = [name for name in standin_names.NAMES[path] if not hasattr(module, name)]
    assert not missing


def test_the_project_uses_no_other_names() -> None:
    listed = {f"{path}.{name}" for path, names in standin_names.NAMES.items() for name in names}
    modules = set(standin_names.NAMES)
    sources = [ROOT / "train_net.py"]
    for folder in ("cfrsam_d2", "tools", "benchmarks", "datasets", "tests"):
        sources += (ROOT / folder).rglob("*.py")
    others = []
    for source in sources:
        if STANDIN in source.parents or not source.is_file():
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("detectron2"):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                others += [f"{source}: {name}" for name in names - listed - modules]
    assert not others, "list these in standin_names.NAMES, and let the stand-in have them"


def test_signatures_are_detectron2s(of_standin: dict, of_real: dict) -> None:
    differing = {
        name: (described, of_real["names"].get(name))
        for name, described in of_standin["names"].items()
        if isinstance(described, list) and described != of_real["names"].get(name)
    }
    assert not differing


def test_enums_have_detectron2s_values(of_standin: dict, of_real: dict) -> None:
    name = "detectron2.structures.BoxMode"
    assert of_standin["names"][name].items() <= of_real["names"][name].items()
    assert of_standin["names"][name]


def test_defaults_of_the_config_are_detectron2s(of_standin: dict, of_real: dict) -> None:
    assert len(of_standin["config"]) > 30
    assert of_standin["config"].items() <= of_real["config"].items()


def test_standin_is_small() -> None:
    lines = sum(len(path.read_text().splitlines()) for path in STANDIN.rglob("*.py"))
    assert lines <= 1500


def run(code: str, folders: list[Path]) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, folders))}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=STANDIN, capture_output=True, text=True
    )


def test_standin_never_shadows_an_installed_detectron2(tmp_path: Path) -> None:
    (tmp_path / "detectron2").mkdir()
    (tmp_path / "detectron2" / "__init__.py").write_text("who = 'installed'")
    # The working folder is the stand-in's own, which Python searches first, so leave it.
    leave = "import os, sys; os.chdir('/'); sys.path.remove('')"
    done = run(f"{leave}; {INSTALL}; import detectron2; print(detectron2.who)", [tmp_path])
    assert done.stdout.split() == ["installed"], done.stderr
    assert not done.stderr


def test_standin_comes_last_and_says_so_once(tmp_path: Path) -> None:
    leave = "import os, sys; os.chdir('/'); sys.path.remove('')"
    if "None" not in run(f"{leave}; {FIND}", [tmp_path]).stdout:
        pytest.skip("Detectron2 is installed in this environment")
    tell = "import detectron2; print(detectron2.__path__[0]); print(sys.path[-1])"
    done = run(f"{leave}; {INSTALL}; {INSTALL}; {tell}", [tmp_path])
    assert done.stdout.split() == [str(STANDIN / "detectron2"), str(STANDIN)], done.stderr
    assert done.stderr.count("Detectron2 is not installed") == 1


FIND = "import importlib.util; print(importlib.util.find_spec('detectron2'))"
