"""One process, or one for each GPU."""

import socket
from collections.abc import Callable
from datetime import timedelta

import torch
from torch import distributed as dist
from torch import multiprocessing as mp

from detectron2.utils import comm

DEFAULT_TIMEOUT = timedelta(minutes=30)


def launch(
    main_func: Callable,
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple = (),
    timeout: timedelta = DEFAULT_TIMEOUT,
) -> None:
    """Call `main_func(*args)` here, or in `num_gpus_per_machine` processes on each machine.

    Every machine calls this; `dist_url` is where they meet ("auto": a free port of this machine).
    """
    world_size = num_machines * num_gpus_per_machine
    if world_size == 1:
        main_func(*args)
        return
    if dist_url == "auto":
        assert num_machines == 1, "dist_url=auto not supported in multi-machine jobs."
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            dist_url = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    first_rank = machine_rank * num_gpus_per_machine
    group = {"init_method": dist_url, "world_size": world_size, "timeout": timeout}
    mp.start_processes(
        _worker,
        nprocs=num_gpus_per_machine,
        args=(main_func, args, num_gpus_per_machine, first_rank, group),
    )


def _worker(
    local_rank: int, main_func: Callable, args: tuple, per_machine: int, first_rank: int, group: dict
) -> None:
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        assert per_machine <= torch.cuda.device_count(), "more processes than GPUs"
        torch.cuda.set_device(local_rank)
    backend = "nccl" if has_gpu else "gloo"
    dist.init_process_group(backend, rank=first_rank + local_rank, **group)
    comm.create_local_process_group(per_machine)
    comm.synchronize()
    main_func(*args)
