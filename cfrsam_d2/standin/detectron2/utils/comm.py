"""What processes that train together tell each other; all of it also works in one process."""

import functools
from typing import Any

import numpy as np
import torch
from torch import distributed as dist

_LOCAL_PROCESS_GROUP = None


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def get_world_size() -> int:
    return dist.get_world_size() if _distributed() else 1


def get_rank() -> int:
    return dist.get_rank() if _distributed() else 0


def is_main_process() -> bool:
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Group the processes of each machine; all processes call it together, once."""
    global _LOCAL_PROCESS_GROUP
    assert _LOCAL_PROCESS_GROUP is None
    assert get_world_size() % num_workers_per_machine == 0
    for start in range(0, get_world_size(), num_workers_per_machine):
        ranks = range(start, start + num_workers_per_machine)
        group = dist.new_group(list(ranks))
        if get_rank() in ranks:
            _LOCAL_PROCESS_GROUP = group


def get_local_rank() -> int:
    """The rank among the processes of this machine."""
    if not _distributed():
        return 0
    assert _LOCAL_PROCESS_GROUP is not None, "start the processes with detectron2.engine.launch()"
    return dist.get_rank(group=_LOCAL_PROCESS_GROUP)


def synchronize() -> None:
    """Wait until every process is here."""
    if get_world_size() == 1:
        return
    if dist.get_backend() == dist.Backend.NCCL:
        dist.barrier(device_ids=[torch.cuda.current_device()])
    else:
        dist.barrier()


@functools.cache
def _cpu_group() -> dist.ProcessGroup:
    return dist.new_group(backend="gloo") if dist.get_backend() == "nccl" else dist.group.WORLD


def all_gather(data: Any, group: "dist.ProcessGroup | None" = None) -> list[Any]:
    """Every process gets the list of what each brings, by rank; anything that pickles."""
    if get_world_size() == 1:
        return [data]
    group = group or _cpu_group()
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: "dist.ProcessGroup | None" = None) -> list[Any]:
    """As `all_gather`, for the process `dst`; the others get an empty list."""
    if get_world_size() == 1:
        return [data]
    group = group or _cpu_group()
    is_dst = dist.get_rank(group) == dst
    gathered = [None] * dist.get_world_size(group) if is_dst else None
    dist.gather_object(data, gathered, dst=dst, group=group)
    return gathered or []


def shared_random_seed() -> int:
    """A random number that is the same in every process."""
    return all_gather(np.random.randint(2**31))[0]
