"""How the benchmarks take times."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from cfrsam_d2.errors import UserError


def check_count(option: str, count: int) -> None:
    """
    Raises:
        UserError: there is nothing to measure.
    """
    if count < 1:
        raise UserError(f"{option} is {count}: give 1 or more")


def has_bfloat16() -> bool:
    """Whether this machine's processor computes in bfloat16, as far as Linux says."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def seconds(work: Callable[[], object]) -> float:
    """Of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_seconds(work: Callable[[], object], runs: int) -> float:
    """The median of some runs, after a first one that does not count."""
    work()
    return statistics.median([seconds(work) for _ in range(runs)])
