"""Loaders whose training stream can be taken up again at any iteration, bit for bit.

Training sees an endless stream of images. Which image stands at a position of the stream, and how
it is augmented, follows from the seed and the position alone: not from the number of workers, of
GPUs, or from where the run started. Iteration i of a run takes the positions i·B to i·B + B − 1.

Letters: n images of the dataset, B images per batch over all GPUs, b = B / GPUs.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import (
    DatasetCatalog,
    DatasetFromList,
    build_detection_test_loader,
    build_detection_train_loader,
    get_detection_dataset_dicts,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import UserError
from .mapper import NucleusMapper

# Kinds of random generators that a seed must give independently of each other.
_ORDER, _AUGMENTATION = 0, 1

# Dataset dicts of n images to the prompts of each, as `NucleusMapper` takes them.
PromptFinder = Callable[[list[dict[str, Any]]], list[np.ndarray]]


class TrainingStream(Dataset):
    """The mapped image at every position 0, 1, 2, … of training.

    Positions 0 to n − 1 are the first epoch: every image once, in an order of its own; n to 2n − 1
    the second, and so on.
    """

    def __init__(
        self, dataset_dicts: Sequence[dict] | DatasetFromList, mapper: NucleusMapper, seed: int
    ) -> None:
        """
        Args:
            dataset_dicts: the n images, at least one.
            mapper: called with a dataset dict and the position's generator.
            seed: not negative.
        """
        self.dataset_dicts = dataset_dicts
        self.mapper = mapper
        self.seed = seed
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, position: int) -> dict[str, Any]:
        epoch, offset = divmod(position, len(self.dataset_dicts))
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, _ORDER, epoch])
            self._epoch, self._order = epoch, rng.permutation(len(self.dataset_dicts))
        dataset_dict = self.dataset_dicts[int(self._order[offset])]
        rng = np.random.default_rng([self.seed, _AUGMENTATION, position])
        return self.mapper(dataset_dict, rng=rng)


class StreamSampler(Sampler):
    """This GPU's positions in the stream, endless: of each batch its b neighbours.

    Attributes:
        start_iteration: the first iteration to yield; may be set until the loader is iterated.
    """

    def __init__(
        self, batch_size: int, *, start_iteration: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        """
        Args:
            batch_size: B, images over all GPUs.
            start_iteration: the first iteration to yield.
            rank: of this GPU's process.
            world_size: number of such processes.

        Raises:
            UserError: B is not a positive multiple of the number of processes.
        """
        if batch_size <= 0 or batch_size % world_size:
            raise UserError(
                f"batch_size is {batch_size}: give a positive multiple of the number of processes, "
                f"{world_size}"
            )
        self.batch_size = batch_size
        self.start_iteration = start_iteration
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[int]:
        per_gpu = self.batch_size // self.world_size
        for iteration in itertools.count(self.start_iteration):
            first = iteration * self.batch_size + self.rank * per_gpu
            yield from range(first, first + per_gpu)


def build_train_loader(
    cfg: CfgNode,
    start_iteration: int = 0,
    find_prompts: PromptFinder | None = None,
) -> DataLoader:
    """Build the endless loader of the training stream.

    Args:
        cfg: DATASETS.TRAIN, DATALOADER.{FILTER_EMPTY_ANNOTATIONS, NUM_WORKERS}, INPUT,
            SOLVER.IMS_PER_BATCH and SEED are read.
        start_iteration: of a resumed run; the loader yields what an uninterrupted one yields from
            this iteration on.
        find_prompts: finds the learner's prompts on the images; the mapper moves them along.

    Returns:
        A loader of lists of b mapped dicts.

    Raises:
        UserError: a dataset is not registered or empty, or a key has an unusable value.
    """
    batch_size, num_gpus = cfg.SOLVER.IMS_PER_BATCH, comm.get_world_size()
    if cfg.SEED < 0:
        raise UserError(f"SEED is {cfg.SEED}: use 0 or more, training follows from it")
    if batch_size <= 0 or batch_size % num_gpus:
        raise UserError(
            f"SOLVER.IMS_PER_BATCH is {batch_size}: give a positive multiple of the number of "
            f"GPUs, {num_gpus}"
        )
    sampler = StreamSampler(
        batch_size, start_iteration=start_iteration, rank=comm.get_rank(), world_size=num_gpus
    )
    dataset_dicts = _load_dicts(
        "DATASETS.TRAIN", cfg.DATASETS.TRAIN, cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    )
    if find_prompts is not None:
        dataset_dicts = [
            {**each, "prompts": prompts}
            for each, prompts in zip(dataset_dicts, find_prompts(dataset_dicts), strict=True)
        ]
    # Workers share the serialised list; each access gives a copy.
    shared_dicts = DatasetFromList(dataset_dicts, copy=False)
    stream = TrainingStream(shared_dicts, NucleusMapper(cfg, is_train=True), cfg.SEED)
    return build_detection_train_loader(
        stream,
        mapper=None,
        sampler=sampler,
        total_batch_size=batch_size,
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Build the loader of a dataset for evaluation: every image once, in order, one per batch.

    Args:
        cfg: DATALOADER.NUM_WORKERS is read.
        dataset_name: a registered dataset.

    Returns:
        A loader of lists of one mapped dict, without "instances".

    Raises:
        UserError: the dataset is not registered or empty.
    """
    return build_detection_test_loader(
        _load_dicts("DATASETS", [dataset_name], filter_empty=False),
        mapper=NucleusMapper(cfg, is_train=False),
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )


def _load_dicts(key: str, names: Sequence[str], filter_empty: bool) -> list[dict]:
    """Load the registered datasets of the configuration key, at least one image."""
    if not names:
        raise UserError(f"{key} is empty: name a registered dataset")
    registered = DatasetCatalog.list()
    for name in names:
        if name not in registered:
            raise UserError(f"{key} has {name!r}: registered are {', '.join(sorted(registered))}")
    try:
        # Detectron2's own check and histogram refuse nuclei of unknown class.
        return get_detection_dataset_dicts(
            list(names), filter_empty=filter_empty, check_consistency=False
        )
    except AssertionError as error:
        raise UserError(
            f"{', '.join(names)} cannot be loaded ({error}): convert the dataset again, or set "
            "DATALOADER.FILTER_EMPTY_ANNOTATIONS to False if no image of it has nuclei"
        ) from error
