"""Processes that train together end together, and in order."""

import functools
import gc
from collections.abc import Callable
from typing import ParamSpec

from detectron2.utils import comm
from torch import distributed

Arguments = ParamSpec("Arguments")


def ends_process_groups(main: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Let a function that Detectron2's `launch` calls end the groups of processes as it returns.

    `launch` leaves them. A thread of theirs that first gets to freeing a tensor after Python's end
    aborts its process, and with it the others.
    """

    @functools.wraps(main)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        main(*args, **kwargs)
        if comm.get_world_size() > 1:
            comm.synchronize()  # all have what they wait for from each other
            _destroy_process_groups()

    return wrapper


def _destroy_process_groups() -> None:
    """Drop what holds a group, so that its threads end now."""
    comm._LOCAL_PROCESS_GROUP = None
    comm._get_global_gloo_group.cache_clear()
    distributed.destroy_process_group()
    gc.collect()  # of models that are trained by several processes
