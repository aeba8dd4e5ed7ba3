"""The catalogue of datasets, and data loaders."""

import pickle
from collections.abc import Callable
from typing import Any

import torch
from detectron2.utils.comm import get_world_size
from detectron2.utils.env import seed_all_rng
from torch.utils.data import DataLoader, Dataset, Sampler

from .catalog import DatasetCatalog, MetadataCatalog  # noqa: F401
from .samplers import InferenceSampler


class DatasetFromList(Dataset):
    """The items of a list; serialised, they are not copied by every worker process."""

    def __init__(self, lst: list, copy: bool = True, serialize: bool = True) -> None:
        assert serialize, "serialize=False is not in the stand-in"
        self._lst = [pickle.dumps(item) for item in lst]

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        return pickle.loads(self._lst[idx])


class MapDataset(Dataset):
    """`map_func` of every item."""

    def __init__(self, dataset: Any, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        return self._map_func(self._dataset[idx])


def get_detection_dataset_dicts(
    names: str | list[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: list[str] | None = None,
    check_consistency: bool = True,
) -> list[dict]:
    """The dicts of the datasets; `filter_empty` drops images that have only crowds, or nothing."""
    assert min_keypoints == 0, "min_keypoints is not in the stand-in"
    assert proposal_files is None, "proposal_files is not in the stand-in"
    dicts = []
    for name in [names] if isinstance(names, str) else names:
        dataset = DatasetCatalog.get(name)
        assert len(dataset), f"Dataset '{name}' is empty!"
        dicts += dataset
    if filter_empty:
        dicts = [d for d in dicts if not all(a.get("iscrowd", 0) for a in d["annotations"])]
    assert len(dicts), f"No valid data found in {names}."
    return dicts


def _list_of_items(batch: list) -> list:
    return batch


def _seed_worker(worker_id: int) -> None:
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)


def build_detection_train_loader(
    dataset: list[dict] | Dataset,
    *,
    mapper: Callable[[dict], Any] | None,
    sampler: Sampler | None = None,
    total_batch_size: int,
    aspect_ratio_grouping: bool = True,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
    **kwargs: Any,
) -> DataLoader:
    """A loader of lists of `total_batch_size` / processes items, as long as the sampler gives."""
    assert not aspect_ratio_grouping, "aspect_ratio_grouping=True is not in the stand-in"
    assert sampler is not None, "a default sampler is not in the stand-in"
    batch_size, rest = divmod(total_batch_size, get_world_size())
    assert rest == 0, f"Total batch size {total_batch_size} is no multiple of the processes"
    return DataLoader(
        _mapped(dataset, mapper),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or _list_of_items,
        worker_init_fn=_seed_worker,
        **{"drop_last": True, **kwargs},
    )


def build_detection_test_loader(
    dataset: list[dict] | Dataset,
    *,
    mapper: Callable[[dict], Any],
    sampler: Sampler | None = None,
    batch_size: int = 1,
    num_workers: int = 0,
    collate_fn: Callable[[list], Any] | None = None,
) -> DataLoader:
    """A loader of every item once, over all processes, in order."""
    items = _mapped(dataset, mapper)
    return DataLoader(
        items,
        batch_size=batch_size,
        sampler=InferenceSampler(len(items)) if sampler is None else sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or _list_of_items,
    )


def _mapped(dataset: list[dict] | Dataset, mapper: Callable | None) -> Any:
    dataset = DatasetFromList(dataset, copy=False) if isinstance(dataset, list) else dataset
    return dataset if mapper is None else MapDataset(dataset, mapper)
