"""Loggers that write to the terminal and to a file."""

import functools
import logging
import os
import sys

from termcolor import colored


@functools.cache  # another call with the same arguments adds no second handler
def setup_logger(
    output: str | None = None,
    distributed_rank: int = 0,
    *,
    color: bool = True,
    name: str = "detectron2",
    abbrev_name: str | None = None,
    enable_propagation: bool = False,
    configure_stdout: bool = True,
) -> logging.Logger:
    """Let logger `name` write to the terminal (first process) and to `output`, a file or folder."""
    assert abbrev_name is None, "abbrev_name is not in the stand-in"
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    targets = [(sys.stdout, color)] if configure_stdout and distributed_rank == 0 else []
    if output is not None:
        is_file = output.endswith((".txt", ".log"))
        path = output if is_file else os.path.join(output, "log.txt")
        rank = f".rank{distributed_rank}" if distributed_rank > 0 else ""
        targets.append((_open_log(path + rank), False))
    for stream, in_color in targets:
        prefix = "[%(asctime)s %(name)s %(levelname)s]: "
        prefix = colored(prefix, "green") if in_color else prefix
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logging.Formatter(prefix + "%(message)s", "%m/%d %H:%M:%S"))
        logger.addHandler(handler)
    return logger


@functools.cache  # loggers of one file share its stream
def _open_log(path: str):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return open(path, "a")
