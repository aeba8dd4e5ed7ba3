"""What processes that train together tell each other; all of it also works in one process."""

import functools
from typing import Any

import numpy as np
import torch
from torch import distributed as dist

_LOCAL_PROCESS_GROUP: Any = None


def get_world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def get_rank() -> int:
    return dist.get_rank() if get_world_size() > 1 else 0


def is_main_process() -> bool:
    return get_rank() == 0


def create_local_process_group(num_workers_per_machine: int) -> None:
    """Group the processes of each machine; all processes call it together, once."""
    global _LOCAL_PROCESS_GROUP
    groups = np.arange(get_world_size()).reshape(-1, num_workers_per_machine).tolist()
    _LOCAL_PROCESS_GROUP = dist.new_subgroups_by_enumeration(groups)[0]


def get_local_rank() -> int:
    """The rank among the processes of this machine."""
    return dist.get_rank(group=_LOCAL_PROCESS_GROUP) if get_world_size() > 1 else 0


def synchronize() -> None:
    """Wait until every process is here."""
    if get_world_size() > 1:
        nccl = dist.get_backend() == dist.Backend.NCCL
        dist.barrier(device_ids=[torch.cuda.current_device()] if nccl else None)


@functools.cache
def _get_global_gloo_group() -> Any:
    return dist.new_group(backend="gloo") if dist.get_backend() == "nccl" else dist.group.WORLD


def all_gather(data: Any, group: "dist.ProcessGroup | None" = None) -> list[Any]:
    """Every process gets the list of what each brings, by rank; anything that pickles."""
    if get_world_size() == 1:
        return [data]
    group = group or _get_global_gloo_group()
    gathered = [None] * dist.get_world_size(group)
    dist.all_gather_object(gathered, data, group=group)
    return gathered


def gather(data: Any, dst: int = 0, group: "dist.ProcessGroup | None" = None) -> list[Any]:
    """As `all_gather`, for the process `dst`; the others get an empty list."""
    gathered = all_gather(data, group)
    return gathered if get_rank() == dst else []
