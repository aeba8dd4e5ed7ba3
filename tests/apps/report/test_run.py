"""Output folders are read as they are, and what is wrong with them is said in one sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from report_runs import CLASSES, NAME, NUM_IMAGES

from cfrsam_d2.apps.report.run import read_runs, short_names
from cfrsam_d2.errors import UserError


@pytest.fixture
def copied(runs: dict[str, Path], tmp_path: Path) -> Path:
    """A run that may be damaged."""
    return Path(shutil.copytree(runs["good"], tmp_path / "copied"))


def test_a_run_is_read(runs: dict[str, Path]):
    dataset, (run,) = read_runs([runs["good"]], None)
    assert (dataset.name, dataset.class_names, len(dataset.images)) == (NAME, CLASSES, NUM_IMAGES)
    assert len(dataset.colors) == 2
    assert run.name == "good"
    assert run.has_masks
    assert run.best_metric == "segmentation/bPQ"
    written = json.loads((runs["good"] / "inference" / NAME / "metrics.json").read_text())
    assert run.metrics == written
    assert run.image_scores["bPQ"].shape == (NUM_IMAGES,)
    assert np.isnan(run.image_scores["bPQ"]).tolist() == [False] * 8 + [True]
    assert run.image_scores["n_gt"].tolist() == [1, 2, 3, 4, 1, 2, 3, 4, 0]
    assert [len(nuclei) for nuclei in run.predictions] == [1, 2, 3, 4, 1, 2, 3, 4, 0]


def test_a_line_that_is_half_written_is_left_out_and_counted(copied: Path):
    _, (run,) = read_runs([copied], None)
    assert [line["iteration"] for line in run.curves] == [19, 39, 39]
    assert run.unreadable_lines == 1
    with open(copied / "metrics.json", "ab") as file:  # a training that goes on after a kill
        for line in (
            b'{"iteration": 59, "lr": 1}',
            b"\xff\xfe",
            b"[1]",
            b'{"lr": 2}',
            b"[" * 100000,
        ):
            file.write(line + b"\n")
        file.write(b'{"iteration": 79, "lr": NaN, "eta": null, "total_loss": 1.5}\n')
    _, (run,) = read_runs([copied], None)
    assert run.curves[3:] == [{"iteration": 79, "total_loss": 1.5}]
    assert run.unreadable_lines == 5


def test_a_run_without_training_has_no_curves(copied: Path):
    (copied / "metrics.json").unlink()
    _, (run,) = read_runs([copied], None)
    assert run.curves == []


def test_points(runs: dict[str, Path]):
    _, (run,) = read_runs([runs["points"]], NAME)
    assert not run.has_masks
    assert "segmentation" not in run.predictions[0][0]
    assert run.predictions[0][0]["point"] == [9.5, 10.5]


def test_a_config_of_another_detectron2_is_read(copied: Path):
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, "GLOBAL": {"HACK": 1.0}}))
    assert read_runs([copied], None)[0].name == NAME


def test_names_are_as_short_as_they_can_be():
    paths = [Path("/x/one/cfrsam"), Path("/x/two/cfrsam"), Path("/x/two/points")]
    assert short_names(paths[:1]) == ["cfrsam"]
    assert short_names(paths) == ["one/cfrsam", "two/cfrsam", "two/points"]
    with pytest.raises(UserError, match=r"cfrsam .*named twice"):
        short_names([Path("/x/cfrsam"), Path("/x/../x/cfrsam")])


def remove(name: str):
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str):
    return lambda folder: (folder / name).write_text(text)


def change_predictions(change):
    def damage(folder: Path) -> None:
        path = folder / "inference" / NAME / "predictions.json"
        data = json.loads(path.read_text())
        change(data)
        path.write_text(json.dumps(data))

    return damage


def change_nucleus(key: str, value: object):
    return change_predictions(lambda data: data["annotations"][0].update({key: value}))


SCORES = f"inference/{NAME}"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("config.yaml"), "config.yaml does not exist: name the OUTPUT_DIR"),
        (write("config.yaml", "[1, 2]"), "config.yaml is not a config"),
        (write("config.yaml", "a: [1"), "config.yaml is not a config"),
        (write("config.yaml", "DATASETS: {TEST: []}"), "config.yaml is not a config"),
        (remove(f"{SCORES}/metrics.json"), "metrics.json does not exist: run `train_net.py"),
        (remove(f"{SCORES}/images.csv"), "images.csv does not exist: evaluate"),
        (remove(f"{SCORES}/predictions.json"), "predictions.json does not exist: evaluate"),
        (write(f"{SCORES}/metrics.json", "{"), "metrics.json is damaged"),
        (write(f"{SCORES}/images.csv", "n_gt,bPQ\n1\n"), "images.csv is damaged"),
        (write(f"{SCORES}/images.csv", ""), "images.csv is damaged"),
        (write(f"{SCORES}/metrics.json", '{"segmentation": 3}'), "metrics.json is damaged"),
        (write(f"{SCORES}/metrics.json", '{"segmentation": {"bPQ": "x"}}'), "'x' is no number"),
        (write(f"{SCORES}/metrics.json", "[" * 100000), "metrics.json is damaged"),
        (write(f"{SCORES}/images.csv", "n_gt,bPQ\n1,inf\n"), "inf is no number"),
        (write(f"{SCORES}/images.csv", "n_gt,bPQ\n1,1\n"), "it has no column mPQ"),
        (write(f"{SCORES}/predictions.json", "[" * 100000), "predictions.json is damaged"),
        (change_nucleus("category_id", 3), "there is no class 2"),
        (change_nucleus("category_id", "1"), "is damaged"),
        (change_nucleus("score", None), "None is no number"),
        (change_nucleus("segmentation", None), "a nucleus has neither polygons nor RLE"),
        (change_nucleus("segmentation", {"size": [64, 64], "counts": "0"}), "does not cover its"),
        (change_nucleus("segmentation", {"size": [9**9, 1], "counts": "0"}), "has an RLE of size"),
        (change_nucleus("image_id", [1]), "is damaged"),
        (write(f"{SCORES}/predictions.json", '{"images"'), "predictions.json is damaged"),
        (write(f"{SCORES}/predictions.json", '{"images": 3}'), "predictions.json is damaged"),
        (
            change_predictions(lambda data: data["images"].append({"id": 99, "file_name": "x"})),
            "has other images than reported",
        ),
        (change_predictions(lambda data: data["categories"].pop()), "has the classes"),
        (change_predictions(lambda data: data["annotations"][0].pop("image_id")), "is damaged"),
    ],
)
def test_damage_is_named(copied: Path, damage, message: str):
    damage(copied)
    with pytest.raises(UserError, match=message):
        read_runs([copied], None)


def test_an_unknown_dataset_is_named(runs: dict[str, Path]):
    with pytest.raises(UserError, match=r"--dataset .* has 'nowhere', which is not registered"):
        read_runs([runs["good"]], "nowhere")


def test_runs_on_different_datasets_are_refused(runs: dict[str, Path], copied: Path):
    path = copied / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["DATASETS"]["TEST"] = ["other"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"good was evaluated on reported, but .*copied on other"):
        read_runs([runs["good"], copied], None)
    assert len(read_runs([runs["good"], copied], NAME)[1]) == 2
    config["DATASETS"]["TEST"] = []
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match=r"DATASETS.TEST of .*copied is empty"):
        read_runs([copied], None)
