from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from cfrsam_d2.data import builtin
from cfrsam_d2.data.builtin import dataset_root
from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_CLASSES, PANNUKE_TISSUES
from cfrsam_d2.data.converters.release import RELEASE_SPLITS
from cfrsam_d2.errors import UserError

SYNTHETIC = ["synthetic_train", "synthetic_val", "synthetic_test"]
PANNUKE = ["pannuke_fold1", "pannuke_fold2", "pannuke_fold3"]
ONE_CLASS = [f"{name}_{split}" for name in ("cpm17", "monuseg") for split in RELEASE_SPLITS]


@pytest.fixture
def root(tmp_path):
    builtin.register_builtin_datasets(tmp_path)
    yield tmp_path
    builtin.register_builtin_datasets(dataset_root())


def test_every_dataset_is_known_before_its_files_are(root):
    assert {*SYNTHETIC, *PANNUKE, *ONE_CLASS} <= set(DatasetCatalog.list())
    for name in SYNTHETIC + PANNUKE + ONE_CLASS:
        metadata = MetadataCatalog.get(name)
        assert metadata.evaluator_type == "nucleus"
        num_classes = len(metadata.thing_classes)
        assert len(metadata.thing_colors) == num_classes
        ids = metadata.thing_dataset_id_to_contiguous_id
        assert ids == {index + 1: index for index in range(num_classes)}
    assert MetadataCatalog.get("synthetic_val").thing_classes == [
        "epithelial",
        "lymphocyte",
        "spindle",
    ]
    assert MetadataCatalog.get("pannuke_fold2").thing_classes == list(PANNUKE_CLASSES)
    assert MetadataCatalog.get("pannuke_fold2").tissues == list(PANNUKE_TISSUES)
    for name in ONE_CLASS:
        assert MetadataCatalog.get(name).thing_classes == ["nucleus"]
        assert MetadataCatalog.get(name).tissues == ["unknown"]
    assert list(root.iterdir()) == []


@pytest.mark.parametrize(
    ("dataset", "split"), [("pannuke", "fold2"), ("cpm17", "val"), ("monuseg", "test")]
)
def test_a_dataset_that_is_not_prepared_says_how_to(root, dataset, split):
    message = (
        rf"{dataset}/{split}/nuclei\.json does not exist: run `python datasets/prepare\.py "
        rf"{dataset} SOURCE` \(see datasets/README\.md\), or set DETECTRON2_DATASETS"
    )
    with pytest.raises(UserError, match=message):
        DatasetCatalog.get(f"{dataset}_{split}")


def test_the_synthetic_dataset_is_made_on_first_use(root, monkeypatch):
    made = []

    def make(folder):
        made.append(folder)
        raise UserError("stop here")

    monkeypatch.setattr(builtin, "make_synthetic_dataset", make)
    builtin.register_builtin_datasets(root)
    assert made == []
    with pytest.raises(UserError, match="stop here"):
        DatasetCatalog.get("synthetic_val")
    assert made == [root / "synthetic_he"]


def test_the_root_is_the_environment_s(monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", "~/scans")
    assert dataset_root() == Path.home() / "scans"
    monkeypatch.delenv("DETECTRON2_DATASETS")
    assert dataset_root() == Path("datasets")
