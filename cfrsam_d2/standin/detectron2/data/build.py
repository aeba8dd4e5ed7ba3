"""Data loaders."""

import itertools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from detectron2._refuse import refuse
from detectron2.config import CfgNode, configurable
from detectron2.utils.comm import get_world_size
from detectron2.utils.env import seed_all_rng

from .catalog import DatasetCatalog, MetadataCatalog
from .common import DatasetFromList, MapDataset, ToIterableDataset
from .samplers import InferenceSampler, TrainingSampler


def get_detection_dataset_dicts(
    names: str | list[str],
    filter_empty: bool = True,
    min_keypoints: int = 0,
    proposal_files: list[str] | None = None,
    check_consistency: bool = True,
) -> list[dict]:
    """The dicts of the registered datasets, one after the other.

    `filter_empty` drops images without annotations that are not crowds; `check_consistency` wants
    the same classes in all datasets.
    """
    refuse(min_keypoints=min_keypoints, proposal_files=proposal_files)
    names = [names] if isinstance(names, str) else names
    assert len(names), names
    loaded = [DatasetCatalog.get(name) for name in names]
    for name, dicts in zip(names, loaded, strict=True):
        assert len(dicts), f"Dataset '{name}' is empty!"
    dicts = list(itertools.chain.from_iterable(loaded))
    if "annotations" in dicts[0]:
        if filter_empty:
            dicts = [d for d in dicts if any(not a.get("iscrowd", 0) for a in d["annotations"])]
        classes = [MetadataCatalog.get(name).get("thing_classes") for name in names]
        if check_consistency and any(other != classes[0] for other in classes):
            raise ValueError(f"Datasets {names} have different thing_classes: {classes}")
    assert dicts, f"No valid data found in {','.join(names)}."
    logging.getLogger(__name__).info(f"{len(dicts)} images in {', '.join(names)}")
    return dicts


def trivial_batch_collator(batch: list) -> list:
    """A batch is the list of its items."""
    return batch


def worker_init_reset_seed(worker_id: int) -> None:
    seed_all_rng(torch.initial_seed() % 2**31 + worker_id)


def _train_loader_from_config(
    cfg: CfgNode, mapper: Callable | None = None, *, dataset=None, sampler: Sampler | None = None
) -> dict[str, Any]:
    assert mapper is not None, "the stand-in has no DatasetMapper: pass mapper="
    if dataset is None:
        dataset = get_detection_dataset_dicts(
            cfg.DATASETS.TRAIN, filter_empty=cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
        )
    if sampler is None:
        if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
            raise ValueError(f"Unknown training sampler: {cfg.DATALOADER.SAMPLER_TRAIN}")
        sampler = TrainingSampler(len(dataset), seed=cfg.SEED)
    return {
        "dataset": dataset,
        "sampler": sampler,
        "mapper": mapper,
        "total_batch_size": cfg.SOLVER.IMS_PER_BATCH,
        "aspect_ratio_grouping": cfg.DATALOADER.ASPECT_RATIO_GROUPING,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_train_loader_from_config)
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
    """An endless loader of batches, which are lists of `total_batch_size` / processes items.

    `kwargs` go to `DataLoader`, but for `seed`, which seeds its generator.
    """
    refuse(aspect_ratio_grouping=aspect_ratio_grouping)
    dataset = _mapped(dataset, mapper)
    batch_size, rest = divmod(total_batch_size, get_world_size())
    assert batch_size > 0 and rest == 0, (
        f"Total batch size ({total_batch_size}) must be divisible by the number of processes."
    )
    sampler = TrainingSampler(len(dataset)) if sampler is None else sampler
    seed = kwargs.pop("seed", None)
    return DataLoader(
        ToIterableDataset(dataset, sampler, shard_chunk_size=batch_size),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
        worker_init_fn=worker_init_reset_seed,
        generator=None if seed is None else torch.Generator().manual_seed(seed),
        **{"drop_last": True, **kwargs},
    )


def _test_loader_from_config(
    cfg: CfgNode, dataset_name: str | list[str], mapper: Callable | None = None
) -> dict[str, Any]:
    assert mapper is not None, "the stand-in has no DatasetMapper: pass mapper="
    return {
        "dataset": get_detection_dataset_dicts(dataset_name, filter_empty=False),
        "mapper": mapper,
        "num_workers": cfg.DATALOADER.NUM_WORKERS,
    }


@configurable(from_config=_test_loader_from_config)
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
    dataset = _mapped(dataset, mapper)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=InferenceSampler(len(dataset)) if sampler is None else sampler,
        num_workers=num_workers,
        collate_fn=collate_fn or trivial_batch_collator,
    )


def _mapped(dataset: list[dict] | Dataset, mapper: Callable | None) -> Dataset:
    if isinstance(dataset, list):
        dataset = DatasetFromList(dataset, copy=False)
    return dataset if mapper is None else MapDataset(dataset, mapper)
