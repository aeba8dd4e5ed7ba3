"""A hash that tells slides apart without reading them whole, where OpenSlide gives none."""

import hashlib
from pathlib import Path

_PIECE = 2**20  # bytes


def quickhash(path: Path) -> str:
    """SHA-256 of the size, the first and the last MiB of a file, in hexadecimal digits."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(_PIECE))
        file.seek(max(size - _PIECE, 0))
        digest.update(file.read(_PIECE))
    return digest.hexdigest()
