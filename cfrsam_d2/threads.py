"""How OpenMP's threads wait for each other: soon asleep, so that they take no time from others."""

import os

# By default they spin at the end of each loop, and where another process keeps one of them from
# its core, the others spin for it: 5 to 20 times the time. Asleep at once, as the standard's word
# says, they cost a third where nothing else runs; GNU's library can spin for 20 µs in between
# (benchmarks/README.md).
WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "2000"}
# What a user says about it: GNU's, Intel's and LLVM's libraries have words of their own, too.
WORDS = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"}


def wait_passively() -> None:
    """Let threads sleep when they have waited for a moment, unless the user has said how they wait.

    OpenMP reads this when it is loaded, which PyTorch does: call it before, and child processes
    inherit it.
    """
    if not WORDS & os.environ.keys():
        os.environ.update(WAITING)
