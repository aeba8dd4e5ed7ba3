"""Catalogues, samplers and loaders: the same on Detectron2 and on the stand-in."""

import itertools
from collections.abc import Iterator

import pytest
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    MapDataset,
    MetadataCatalog,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.data.samplers import InferenceSampler
from detectron2.utils import comm
from torch.utils.data import Dataset, Sampler

NUCLEUS = {"category_id": 0, "iscrowd": 0}


@pytest.fixture
def names() -> Iterator[list[str]]:
    datasets = {
        "standin_full": [{"image_id": 0, "annotations": [NUCLEUS]}],
        "standin_half": [
            {"image_id": 1, "annotations": []},
            {"image_id": 2, "annotations": [NUCLEUS, {"category_id": 0, "iscrowd": 1}]},
            {"image_id": 3, "annotations": [{"category_id": 0, "iscrowd": 1}]},
        ],
        "standin_none": [],
    }
    for name, dicts in datasets.items():
        DatasetCatalog.register(name, lambda dicts=dicts: dicts)
    yield list(datasets)
    for name in datasets:
        DatasetCatalog.remove(name)
        if name in MetadataCatalog:
            MetadataCatalog.remove(name)


def test_catalogue_of_datasets(names: list[str]) -> None:
    assert set(names) <= set(DatasetCatalog.list())
    assert DatasetCatalog.get("standin_full")[0]["image_id"] == 0
    with pytest.raises(AssertionError, match="already registered"):
        DatasetCatalog.register("standin_full", list)
    with pytest.raises(KeyError, match="standin_unheard"):
        DatasetCatalog.get("standin_unheard")


def test_metadata_is_set_once(names: list[str]) -> None:
    metadata = MetadataCatalog.get("standin_full").set(thing_classes=["a"], tissues=["skin"])
    assert MetadataCatalog.get("standin_full") is metadata
    assert metadata.name == "standin_full"
    assert metadata.thing_classes == ["a"]
    assert metadata.get("unheard", 5) == 5
    metadata.thing_classes = ["a"]
    with pytest.raises(AssertionError, match="thing_classes"):
        metadata.thing_classes = ["b"]
    with pytest.raises(AttributeError, match="unheard"):
        _ = metadata.unheard


@pytest.mark.parametrize(("filter_empty", "images"), [(True, [0, 2]), (False, [0, 1, 2, 3])])
def test_images_without_instances(names: list[str], filter_empty: bool, images: list[int]) -> None:
    dicts = get_detection_dataset_dicts(names[:2], filter_empty=filter_empty)
    assert [each["image_id"] for each in dicts] == images


def test_empty_datasets_are_refused(names: list[str]) -> None:
    with pytest.raises(AssertionError, match="'standin_none' is empty"):
        get_detection_dataset_dicts(["standin_full", "standin_none"])


def test_items_of_a_list_are_copies() -> None:
    items = [{"numbers": [1, 2]}, {"numbers": []}]
    dataset = DatasetFromList(items, copy=False)
    dataset[0]["numbers"].append(3)
    assert dataset[0] == items[0] == {"numbers": [1, 2]}
    assert len(dataset) == 2
    assert list(MapDataset(dataset, lambda item: len(item["numbers"]))) == [2, 0]


@pytest.mark.parametrize(
    ("rank", "indices"), [(0, [0, 1, 2]), (1, [3, 4, 5]), (2, [6, 7]), (3, [8, 9])]
)
def test_processes_share_the_dataset(
    rank: int, indices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: 4)
    sampler = InferenceSampler(10)
    assert list(sampler) == indices
    assert len(sampler) == len(indices)


def test_test_loader_gives_every_item_once_in_order() -> None:
    loader = build_detection_test_loader([{"n": n} for n in range(5)], mapper=lambda d: d["n"])
    assert list(loader) == [[0], [1], [2], [3], [4]]
    assert len(loader) == 5


class Endless(Sampler):
    """Without a length."""

    def __init__(self, start: int) -> None:
        self.start = start

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.start)


class Squares(Dataset):
    """Without a length."""

    def __getitem__(self, index: int) -> int:
        return index * index


@pytest.mark.parametrize("num_workers", [0, 2])
def test_train_loader_follows_an_endless_sampler(num_workers: int) -> None:
    loader = build_detection_train_loader(
        Squares(),
        mapper=None,
        sampler=Endless(3),
        total_batch_size=2,
        aspect_ratio_grouping=False,
        num_workers=num_workers,
    )
    assert list(itertools.islice(loader, 5)) == [[9, 16], [25, 36], [49, 64], [81, 100], [121, 144]]


def test_train_loader_maps_dicts() -> None:
    loader = build_detection_train_loader(
        [{"n": 5}, {"n": 6}, {"n": 7}],
        mapper=lambda d: d["n"],
        sampler=InferenceSampler(3),
        total_batch_size=2,
        aspect_ratio_grouping=False,
    )
    assert list(loader) == [[5, 6]]  # an incomplete batch is left out
