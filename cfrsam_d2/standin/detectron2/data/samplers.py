"""The order in which each process sees a dataset."""

from collections.abc import Iterator

from detectron2.utils import comm
from torch.utils.data import Sampler


class InferenceSampler(Sampler):
    """Every index once, in order: the first processes take one more where it does not divide."""

    def __init__(self, size: int) -> None:
        share, left = divmod(size, comm.get_world_size())
        rank = comm.get_rank()
        begin = rank * share + min(rank, left)
        self._local_indices = range(begin, begin + share + (rank < left))

    def __iter__(self) -> Iterator[int]:
        yield from self._local_indices

    def __len__(self) -> int:
        return len(self._local_indices)
