import json

import pytest
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.data.registration import (
    register_custom_datasets,
    register_nucleus_json,
    unregister,
)
from cfrsam_d2.errors import UserError

CUSTOM = ("custom_train", "custom_val", "custom_test")


def write_json(path, classes=("round", "long"), num_nuclei=1):
    polygon = [[1, 1, 4, 1, 4, 4, 1, 4]]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "height": 8, "width": 8}],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": 0, "segmentation": polygon}
            for index in range(num_nuclei)
        ],
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return str(path)


@pytest.fixture
def cfg():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    yield cfg
    for name in CUSTOM:
        unregister(name)


@pytest.fixture
def name():
    yield "registration_test"
    unregister("registration_test")


def test_nothing_is_read_before_it_is_needed(tmp_path, name):
    calls = []
    register_nucleus_json(
        name,
        tmp_path / "nuclei.json",
        tmp_path / "images",
        prepare=lambda: calls.append(write_json(tmp_path / "nuclei.json")),
        thing_classes=["round", "long"],
    )
    metadata = MetadataCatalog.get(name)
    assert metadata.thing_classes == ["round", "long"]
    assert metadata.evaluator_type == "nucleus"
    assert metadata.json_file == str(tmp_path / "nuclei.json")
    assert metadata.image_root == str(tmp_path / "images")
    assert calls == []
    (record,) = DatasetCatalog.get(name)
    assert len(calls) == 1
    assert record["file_name"] == str(tmp_path / "images" / "a.png")
    assert metadata.tissues == ["unknown"]


def test_a_name_can_be_registered_again(tmp_path, name):
    for num_nuclei in (1, 3):
        path = write_json(tmp_path / str(num_nuclei) / "nuclei.json", num_nuclei=num_nuclei)
        register_nucleus_json(name, path, tmp_path, thing_classes=["round", "long"])
        assert len(DatasetCatalog.get(name)[0]["annotations"]) == num_nuclei
    unregister(name)
    unregister(name)
    assert name not in DatasetCatalog.list()
    assert name not in MetadataCatalog.list()


def test_custom_datasets_have_the_classes_of_their_files(tmp_path, cfg):
    (tmp_path / "pictures").mkdir()
    cfg.DATASETS.CUSTOM.TRAIN.JSON = write_json(tmp_path / "train.json", num_nuclei=2)
    cfg.DATASETS.CUSTOM.TRAIN.IMAGES = str(tmp_path / "pictures")
    cfg.DATASETS.CUSTOM.TEST.JSON = write_json(tmp_path / "test" / "test.json")
    register_custom_datasets(cfg)
    assert [name for name in CUSTOM if name in DatasetCatalog.list()] == [
        "custom_train",
        "custom_test",
    ]
    for name in ("custom_train", "custom_test"):
        metadata = MetadataCatalog.get(name)
        assert metadata.thing_classes == ["round", "long"]
        assert metadata.tissues == ["unknown"]
        assert metadata.evaluator_type == "nucleus"
    (train,) = DatasetCatalog.get("custom_train")
    (test,) = DatasetCatalog.get("custom_test")
    assert train["file_name"] == str(tmp_path / "pictures" / "a.png")
    assert len(train["annotations"]) == 2
    # Without IMAGES, the images lie beside the file.
    assert test["file_name"] == str(tmp_path / "test" / "a.png")


def test_the_next_config_forgets_the_last_one_s_data(tmp_path, cfg):
    cfg.DATASETS.CUSTOM.VAL.JSON = write_json(tmp_path / "val.json")
    register_custom_datasets(cfg)
    assert "custom_val" in DatasetCatalog.list()
    cfg.DATASETS.CUSTOM.VAL.JSON = ""
    register_custom_datasets(cfg)
    assert not set(CUSTOM) & set(DatasetCatalog.list())


@pytest.mark.parametrize("split", ["VAL", "TEST"])
@pytest.mark.parametrize("classes", [("long", "round"), ("round",), ("round", "long", "flat")])
def test_splits_with_other_classes_are_refused(tmp_path, cfg, split, classes):
    cfg.DATASETS.CUSTOM.TRAIN.JSON = write_json(tmp_path / "train.json")
    cfg.DATASETS.CUSTOM[split].JSON = write_json(tmp_path / "other.json", classes)
    message = (
        r"other\.json has the classes .*, but .*train\.json has \['round', 'long'\]: "
        "let every split list the same `categories`"
    )
    with pytest.raises(UserError, match=message):
        register_custom_datasets(cfg)


def test_a_missing_file_or_folder_is_named(tmp_path, cfg):
    cfg.DATASETS.CUSTOM.TRAIN.JSON = str(tmp_path / "train.json")
    with pytest.raises(UserError, match=r"train\.json does not exist: check the path"):
        register_custom_datasets(cfg)
    write_json(tmp_path / "train.json")
    cfg.DATASETS.CUSTOM.TRAIN.IMAGES = str(tmp_path / "nowhere")
    message = r"nowhere is not a folder: let DATASETS\.CUSTOM\.TRAIN\.IMAGES name the folder"
    with pytest.raises(UserError, match=message):
        register_custom_datasets(cfg)
