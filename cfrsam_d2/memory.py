"""How PyTorch's memory comes from the system, and goes back to it."""

import ctypes
import os

HUGE_PAGES = "THP_MEM_ALLOC_ENABLE"  # PyTorch's own word; "1" turns it on


def use_huge_pages() -> None:
    """Let PyTorch ask Linux for large tensors in pages of 2 MiB, unless the user has spoken of it.

    In pages of 4 KiB, a training step at full frame on a CPU spends half of its time on getting
    them. PyTorch reads this when it makes its first tensor: call it before; child processes
    inherit it.
    """
    os.environ.setdefault(HUGE_PAGES, "1")


def give_back_memory() -> None:
    """Let other uses have what was freed: GNU's C library keeps much of it, in pieces."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of GNU's alone
        trim(0)
