"""Loggers that write to the terminal and to a file."""

import functools
import logging
import os
import sys
import time

from termcolor import colored

from detectron2.utils.file_io import PathManager

_LAST_LOGGED: dict[tuple, float] = {}


class _ShortNameFormatter(logging.Formatter):
    """Colours the prefix, shortens the root of logger names, and marks warnings and errors."""

    def __init__(self, name: str, abbrev_name: str) -> None:
        prefix = colored("[%(asctime)s %(name)s]: ", "green")
        super().__init__(prefix + "%(message)s", datefmt="%m/%d %H:%M:%S")
        self._roots = (name + ".", abbrev_name + "." if abbrev_name else "")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record = logging.makeLogRecord({**vars(record), "name": record.name.replace(*self._roots)})
        line = super().formatMessage(record)
        if record.levelno < logging.WARNING:
            return line
        return f"{colored(record.levelname, 'red')} {line}"


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
    """Let logger `name` write to the terminal (first process only) and below `output`.

    `output` is a folder, for its `log.txt`, or a file that ends in .txt or .log; later processes
    add `.rank<number>`.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG)
    logger.propagate = enable_propagation
    plain = logging.Formatter(
        "[%(asctime)s] %(name)s %(levelname)s: %(message)s", datefmt="%m/%d %H:%M:%S"
    )
    if configure_stdout and distributed_rank == 0:
        terminal = logging.StreamHandler(sys.stdout)
        short = ("d2" if name == "detectron2" else name) if abbrev_name is None else abbrev_name
        terminal.setFormatter(_ShortNameFormatter(name, short) if color else plain)
        logger.addHandler(terminal)
    if output is not None:
        is_file = output.endswith((".txt", ".log"))
        filename = output if is_file else os.path.join(output, "log.txt")
        if distributed_rank > 0:
            filename += f".rank{distributed_rank}"
        PathManager.mkdirs(os.path.dirname(filename))
        file = logging.StreamHandler(_open_log(filename))
        file.setFormatter(plain)
        logger.addHandler(file)
    return logger


@functools.cache  # loggers of one file share its stream
def _open_log(filename: str):
    return PathManager.open(filename, "a")


def log_every_n_seconds(lvl: int, msg: str, n: float = 1, *, name: str | None = None) -> None:
    """Log unless the same line of the program has logged within the last `n` seconds."""
    caller = sys._getframe(1)
    place, now = (caller.f_code.co_filename, caller.f_lineno), time.time()
    if now - _LAST_LOGGED.get(place, float("-inf")) >= n:
        logging.getLogger(name or caller.f_globals["__name__"]).log(lvl, msg)
        _LAST_LOGGED[place] = now
