"""What runs in the process of `mat_process`; without the package, as that starts slowly."""

import io
import resource
import struct
import sys
from typing import Any

import numpy as np
from scipy.io import loadmat

MOST_MEMORY = 8 * 2**30  # bytes: a small file can say that it is of any size
KEYS = (
    *("inst_map", "type_map", "inst_type", "inst_uid"),
    *("class", "class_labels", "id"),
)


def read(path: str) -> dict[str, Any]:
    """The numbers that a file has under `KEYS`; other values become text."""
    with open(path, "rb") as file:
        data = loadmat(file, variable_names=KEYS)
    arrays = {key: np.asarray(data[key]) for key in KEYS if key in data}
    return {key: a if a.dtype.kind in "buif" else np.array("?") for key, a in arrays.items()}


def answer(path: str) -> bytes:
    """What `read` returns as an .npz, or one with `error`: name and text of the exception."""
    buffer = io.BytesIO()
    try:
        np.savez(buffer, **read(path))
    except Exception as error:  # damaged bytes make SciPy raise nearly anything
        buffer = io.BytesIO()
        np.savez(buffer, error=np.array([type(error).__name__, str(error)]))
    return buffer.getvalue()


def main() -> None:
    """Answer each line, a path, by the length and the bytes of an .npz, until there are no more."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    for line in sys.stdin.buffer:
        content = answer(line.rstrip(b"\n").decode("utf-8", "surrogateescape"))
        sys.stdout.buffer.write(struct.pack("<q", len(content)) + content)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
