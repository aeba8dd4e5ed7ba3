"""Installed as any package is, without the clone: sdist, wheel, the command in an empty folder."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
BUILD = "import sys; from setuptools import build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def build(kind: str, source: Path, output: Path) -> Path:
    """An sdist or a wheel of the project in a folder."""
    output.mkdir()
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(output)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = output.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an sdist of what the clone tracks, as an index would offer it."""
    folder = tmp_path_factory.mktemp("build")
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if tracked.returncode:
        pytest.skip("this is no git clone")
    for name in filter(None, tracked.stdout.split("\0")):
        if name.startswith(("cfrsam_d2", "configs", "README", "LICENSE", "setup", "pyproject")):
            (folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "clone" / name, follow_symlinks=False)
    sdist = build("sdist", folder / "clone", folder / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    return build("wheel", source, folder / "wheel")


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`cfrsam` of a fresh environment, which finds the other packages in this one."""
    pytest.importorskip("pip")
    environment = tmp_path_factory.mktemp("fresh") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    others = {str(Path(module.__file__).parents[1]) for module in (np, pytest) if module.__file__}
    (site / "others.pth").write_text("\n".join(sorted(others)))
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin/python"), "--quiet"]
    install = ["install", "--no-deps", "--no-index", "--ignore-installed", str(wheel)]
    subprocess.run([*pip, *install], env=ENVIRONMENT, check=True)
    return environment / "bin" / "cfrsam"


def run(command: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    words = (str(command), *words)
    return subprocess.run(words, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True)


def test_it_predicts_from_an_empty_folder(command: Path, tmp_path: Path) -> None:
    with Image.open(ROOT / "datasets" / "example" / "cmu1_region.tif") as image:
        image.crop((300, 100, 428, 228)).save(tmp_path / "tile.png")
    done = run(command, tmp_path, "predict", "tile.png", "MODEL.DEVICE", "cpu")
    assert done.returncode == 0, done.stderr
    assert "small model that comes with the project" in done.stderr
    table = tmp_path / "predictions" / "tile.csv"
    assert len(table.read_text().splitlines()) > 5
    assert (tmp_path / "predictions" / "tile.geojson").is_file()


def test_its_configs_are_all_there(command: Path, tmp_path: Path) -> None:
    code = "from cfrsam_d2 import model_zoo as z; print(z.__file__, *z.config_names(), sep='\\n')"
    python = command.with_name("python")
    file, *names = run(python, tmp_path, "-c", code).stdout.split("\n")[:-1]
    assert not Path(file).is_relative_to(ROOT)
    configs = ROOT / "configs"
    assert names == sorted(str(path.relative_to(configs)) for path in configs.rglob("*.yaml"))
