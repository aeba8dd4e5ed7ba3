"""Memory that is no longer used, given back to the system."""

import ctypes


def give_back_memory() -> None:
    """Let other uses have what was freed: GNU's C library keeps much of it, in pieces."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # of GNU's alone
        trim(0)
