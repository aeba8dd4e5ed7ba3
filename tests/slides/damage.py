"""Slides that are damaged in one place."""

from pathlib import Path

import tifffile


def damage_tile(path: Path, copy: Path, index: int) -> Path:
    """Copy a TIFF, and overwrite the second half of a tile of the first level."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    content = bytearray(path.read_bytes())
    content[offset + count // 2 : offset + count] = bytes(count - count // 2)
    copy.write_bytes(content)
    return copy
