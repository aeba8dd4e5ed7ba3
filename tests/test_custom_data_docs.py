"""docs/custom-data.md, followed to the letter: its files, its Python and its commands.

Only data and networks are smaller than there, and iterations fewer.
"""

import json
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cfrsam_d2.data.builtin import dataset_root, register_builtin_datasets
from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.data.synthetic import make_synthetic_dataset

ROOT = Path(__file__).resolve().parents[1]
SPLITS = ("train", "val", "test")
SMALLER = [
    *("MODEL.DEVICE", "cpu", "SOLVER.MAX_ITER", "2", "TEST.EVAL_PERIOD", "2"),
    *("SOLVER.WARMUP_ITERS", "0"),
    *("SOLVER.STEPS", "()", "SOLVER.IMS_PER_BATCH", "2", "MODEL.CFRSAM.MAX_TRAIN_NUCLEI", "2"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    # An untrained learner sees nuclei everywhere: keep few of them.
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "64.0"),
    *("MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.ADAPTER_RANK", "8"),
]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder like the project's root, and three synthetic images a split."""
    for name in ("configs", "datasets", "tools", "train_net.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    data = tmp_path / "synthetic"
    make_synthetic_dataset(data, dict.fromkeys(SPLITS, 3))
    for split in SPLITS:
        json_file = data / split / "nuclei.json"
        register_nucleus_json(f"synthetic_{split}", json_file, data / split / "images")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    register_builtin_datasets(dataset_root())
    for split in SPLITS:
        unregister(f"custom_{split}")


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run `python SCRIPT ARGUMENTS` in this process."""
    python, script, *arguments = shlex.split(command)
    assert python == "python"
    if "visualize_data" not in script and "prepare" not in script:
        arguments += SMALLER
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(script, run_name="__main__")


def test_the_walk_through_runs(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "custom-data.md").read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    # The files first: some commands stand above a file that they need.
    for language, block in blocks:
        if language == "yaml":
            path = project / block.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(block)
    for language, block in blocks:
        if language == "python":
            exec(compile(block, "custom-data.md", "exec"), {})
        elif language == "bash":
            for command in block.replace("\\\n", " ").splitlines():
                run(command, monkeypatch)

    raw = sorted((project / "synthetic" / "train" / "images").iterdir())
    records = load_nucleus_json("my/train/nuclei.json", "my/train/images")
    assert [Path(each["file_name"]).name for each in records] == [path.name for path in raw]
    assert {(each["height"], each["magnification"]) for each in records} == {(64, 20)}
    for stage in ("prompt_learner", "cfrsam"):
        scores = Path(f"output/my/{stage}/inference/custom_test/metrics.json")
        assert "detection" in json.loads(scores.read_text())
    assert len(list(Path("output/my/predictions").glob("*.geojson"))) == 3
    assert len(list(Path("output/pictures/custom_train").glob("*.png"))) == 3
