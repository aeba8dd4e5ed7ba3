"""PanNuke's format: the release comes back from it, and predictions score as the evaluator says."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Instances
from torch import nn

from cfrsam_d2.apps import export_pannuke
from cfrsam_d2.data.converters.dataset_writer import NucleusJsonWriter
from cfrsam_d2.data.converters.pannuke import convert_pannuke_fold
from cfrsam_d2.data.converters.pannuke_layout import (
    PANNUKE_CLASSES,
    PANNUKE_TISSUES,
    find_pannuke_fold,
)
from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.engine import NucleusTrainer, build_trained_model, load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.evaluation import score_pannuke_arrays, summarize
from cfrsam_d2.structures.masks import BoxMask, BoxMasks
from tools.export_pannuke import main

CONFIG = str(Path(__file__).resolve().parents[2] / "configs" / "cfrsam_b.yaml")
NAME = "exported"
SIDE = 48  # px


def register(folder: Path, classes: tuple[str, ...] = PANNUKE_CLASSES) -> None:
    register_nucleus_json(
        NAME,
        folder / "nuclei.json",
        folder / "images",
        thing_classes=list(classes),
        tissues=list(PANNUKE_TISSUES),
    )


@pytest.fixture(autouse=True)
def forget_dataset() -> Iterator[None]:
    yield
    unregister(NAME)


def random_squares(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (count, SIDE, SIDE) that overlap, with their classes and scores."""
    rng = np.random.default_rng(seed)
    boxes = rng.integers((0, 0, 5), (30, 30, 18), size=(count, 3))
    masks = np.zeros((count, SIDE, SIDE), dtype=bool)
    for mask, (y, x, side) in zip(masks, boxes, strict=True):
        mask[y : y + side, x : x + side] = True
    return masks, np.arange(count) % len(PANNUKE_CLASSES), rng.random(count)


@META_ARCH_REGISTRY.register()
class FoundSquares(nn.Module):
    """Predicts overlapping squares, most of them where the nuclei of the tile are; none if none."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        (image,) = batched_inputs
        seed = int(image["image"][0, 0, 0])
        masks, classes, scores = random_squares(seed, 12 if seed else 0)
        instances = Instances(
            (SIDE, SIDE),
            pred_masks=BoxMasks.from_frames(torch.from_numpy(masks).roll(1, dims=1)),
            pred_classes=torch.from_numpy(classes),
            scores=torch.from_numpy(scores),
        )
        return [{"instances": instances}]


@META_ARCH_REGISTRY.register()
class FoundPoints(FoundSquares):
    """Predicts a point."""

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Instances]]:
        return [{"instances": Instances((SIDE, SIDE), pred_points=torch.zeros(1, 2))}]


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Four tiles whose first pixel is the seed of their squares; one has none."""
    folder = tmp_path / "tiles"
    writer = NucleusJsonWriter(folder, PANNUKE_CLASSES)
    for seed, tissue in enumerate(["Liver", "Bile-duct", "Liver", "Skin"]):
        masks, classes, _ = random_squares(seed, 8)
        image = np.full((SIDE, SIDE, 3), seed, dtype=np.uint8)
        nuclei = list(zip(map(BoxMask.of_frame, masks), classes.tolist(), strict=True))
        writer.add(f"{seed}.png", image, nuclei if seed else [], tissue=tissue)
    writer.write()
    register(folder)
    return folder


def arguments(folder: Path, architecture: str = "FoundSquares") -> list[str]:
    """Of a run with an untrained model."""
    overrides = [
        *("MODEL.META_ARCHITECTURE", architecture, "MODEL.DEVICE", "cpu"),
        *("MODEL.WEIGHTS", str(folder / "weights.pth"), "OUTPUT_DIR", str(folder)),
        *("DATASETS.TEST", f"('{NAME}',)", "DATALOADER.NUM_WORKERS", "0"),
    ]
    torch.save({"model": FoundSquares(None).state_dict()}, folder / "weights.pth")
    return overrides


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two maps have the same background and the same instances, whatever their ids."""
    pairs = np.unique(a.ravel() * 2**20 + b.ravel())
    same_instances = len(pairs) == len(np.unique(a)) == len(np.unique(b))
    return same_instances and np.array_equal(a > 0, b > 0)


def test_ground_truth_comes_back_as_released(shared: Path, tmp_path: Path) -> None:
    fold = find_pannuke_fold(shared / "data" / "pannuke_layout", 1)
    convert_pannuke_fold(fold, tmp_path / "fold1")
    register(tmp_path / "fold1")
    dataset_dicts = export_pannuke.load_pannuke_dataset(NAME)
    file = tmp_path / "true" / "masks.npy"
    masks = export_pannuke.ground_truth_masks(dataset_dicts)
    export_pannuke.write_masks(file, dataset_dicts, masks)
    export_pannuke.write_types(tmp_path / "true" / "types.npy", dataset_dicts)

    released, exported = np.load(fold.masks_file), np.load(file, mmap_mode="r")
    types = np.load(tmp_path / "true" / "types.npy")
    assert types.tolist() == fold.tissues
    assert exported.shape == released.shape
    for of_release, of_export in zip(released.astype(int), exported, strict=True):
        for channel in range(5):
            assert same_partition(of_release[..., channel], of_export[..., channel])
        np.testing.assert_array_equal(of_release[..., 5] > 0, of_export[..., 5])

    records = score_pannuke_arrays(released, exported, types)
    scores = summarize(records, PANNUKE_CLASSES)["segmentation"]
    ones = {"bPQ": 1, "mPQ": 1, "AJI": 1, "AJI_plus": 1, "bPQ_image": 1, "mPQ_plus": 1}
    assert {name: scores[name] for name in ones} == pytest.approx(ones, abs=2e-6)


def test_predictions_score_as_the_evaluator_says(tiles: Path, capsys: pytest.CaptureFixture):
    overrides = arguments(tiles)
    main(["--config-file", CONFIG, "--ground-truth", *overrides])
    folder = tiles / "pannuke" / NAME
    assert f"4 images of {NAME} are in {folder}" in capsys.readouterr().out
    names = ("true/masks.npy", "pred/masks.npy", "true/types.npy")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == set(names)
    true, pred, types = (np.load(folder / name) for name in names)
    assert types.tolist() == ["Liver", "Bile-duct", "Liver", "Skin"]
    assert pred.shape == (4, SIDE, SIDE, 6)
    # Whatever the order in which channels are painted, the map is the same.
    assert ((pred[..., :5] > 0).sum(axis=-1) + pred[..., 5] == 1).all()
    assert pred[0, ..., 5].all()

    cfg = load_config(CONFIG, overrides)
    evaluated = NucleusTrainer.test(cfg, build_trained_model(cfg))
    exported = summarize(score_pannuke_arrays(true, pred, types), PANNUKE_CLASSES, PANNUKE_TISSUES)
    assert 0.1 < evaluated["segmentation"]["bPQ"] < 0.9
    assert exported["tissue_bpq"] == pytest.approx(evaluated["tissue_bpq"], rel=1e-12, nan_ok=True)
    ours, theirs = evaluated["segmentation"], exported["segmentation"]
    for name in ("bPQ", "bPQ_std", "bPQ_image", "DQ", "SQ", "AJI", "AJI_plus", "mPQ_one_map"):
        assert theirs[name] == pytest.approx(ours[name], rel=1e-12), name
    # What is exported is one map: so is the official script's mPQ of it.
    assert theirs["mPQ"] == pytest.approx(ours["mPQ_one_map"], rel=1e-12)
    assert ours["mPQ"] != pytest.approx(ours["mPQ_one_map"], abs=1e-3)


def test_an_image_at_a_time_is_in_memory(tmp_path: Path) -> None:
    size = {"height": 256, "width": 256}
    record = np.zeros((256, 256, 6), dtype=np.int32)
    tracemalloc.start()
    export_pannuke.write_masks(
        tmp_path / "masks.npy", [size] * 20, (record + index for index in range(20))
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5 * record.nbytes
    assert np.load(tmp_path / "masks.npy", mmap_mode="r")[:, 3, 2, 1].tolist() == list(range(20))


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    def records() -> Iterator[np.ndarray]:
        yield np.zeros((4, 4, 6), dtype=np.int32)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_pannuke.write_masks(
            tmp_path / "masks.npy", [{"height": 4, "width": 4}] * 2, records()
        )
    assert not list(tmp_path.iterdir())


def test_points_are_no_masks(tiles: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--config-file", CONFIG, *arguments(tiles, "FoundPoints")])
    assert "is of stage 1, which predicts points: name one of stage 2" in capsys.readouterr().err
    assert not list((tiles / "pannuke").rglob("*.*"))


@pytest.mark.parametrize(
    ("classes", "sides", "message"),
    [
        (tuple("abcde"), (16, 16), "has the classes a, b, c, d, e, but PanNuke's format is for"),
        (PANNUKE_CLASSES, (16, 20), r"has images of \(16, 16\) and of \(20, 20\) px"),
    ],
)
def test_other_data_do_not_fit(
    tmp_path: Path, classes: tuple[str, ...], sides: tuple[int, int], message: str
) -> None:
    writer = NucleusJsonWriter(tmp_path, classes)
    for index, side in enumerate(sides):
        writer.add(f"{index}.png", np.zeros((side, side, 3), np.uint8), [], tissue="Skin")
    writer.write()
    register(tmp_path, classes)
    with pytest.raises(UserError, match=f"{NAME} {message}"):
        export_pannuke.load_pannuke_dataset(NAME)
