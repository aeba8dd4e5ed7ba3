"""Datasets made of other datasets."""

import copy
import pickle
import random
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info


class DatasetFromList(Dataset):
    """The items of a list; each access gives a new copy, unless both switches are off."""

    def __init__(self, lst: list, copy: bool = True, serialize: bool = True) -> None:
        self._copy = copy
        self._serialize = serialize
        # Pickled items keep worker processes from copying the memory of a large list.
        self._lst = [pickle.dumps(item, protocol=-1) for item in lst] if serialize else lst

    def __len__(self) -> int:
        return len(self._lst)

    def __getitem__(self, idx: int) -> Any:
        if self._serialize:
            return pickle.loads(self._lst[idx])
        return copy.deepcopy(self._lst[idx]) if self._copy else self._lst[idx]


class MapDataset(Dataset):
    """`map_func` of every item; where it gives None, another item is drawn."""

    def __init__(self, dataset: Dataset, map_func: Callable[[Any], Any]) -> None:
        self._dataset = dataset
        self._map_func = map_func
        self._rng = random.Random(42)
        self._usable = set(range(len(dataset)))

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, idx: int) -> Any:
        index = int(idx)
        while (item := self._map_func(self._dataset[index])) is None:
            self._usable.discard(index)
            index = self._rng.sample(list(self._usable), k=1)[0]
        return item


class ToIterableDataset(IterableDataset):
    """Items in the order of an endless sampler; worker processes take chunks in turn."""

    def __init__(
        self,
        dataset: Dataset,
        sampler: Sampler,
        shard_sampler: bool = True,
        shard_chunk_size: int = 1,
    ) -> None:
        self.dataset = dataset
        self.sampler = sampler
        self.shard_sampler = shard_sampler
        self.shard_chunk_size = shard_chunk_size

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info() if self.shard_sampler else None
        worker_id, num_workers = (worker.id, worker.num_workers) if worker else (0, 1)
        for position, index in enumerate(self.sampler):
            if position // self.shard_chunk_size % num_workers == worker_id:
                yield self.dataset[index]
