"""Nuclei as a pyramid of labels, OME-Zarr (NGFF 0.4) or OME-TIFF, a piece at a time.

Its first level has the model's resolution, at which masks were found: W×H px. A label is the `id`
of a nucleus, 0 is background; where nuclei overlap, the better-scored one lies on top.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pyarrow as pa
import shapely
import tifffile
import zarr

from ...files import replaced_folder, write_errors_named, written_whole
from ...structures.masks import BoxMask
from ..geometry import mask_within

_PIECE = 768  # px of a side: five to a side of a chunk
_TILE = 512  # px, of a TIFF
_RECORD = ".zgroup"  # the file that every OME-Zarr of this form has


def write_label_zarr(
    tables: Iterable[pa.Table], path: Path, *, size: tuple[int, int], scale: float, mpp: float
) -> None:
    """Paint nuclei into an OME-Zarr. Call it under the lock of the slide's folder.

    Args:
        tables: of chunks, in any order; each is held for itself, with its part of the map.
        path: the folder that is made or replaced.
        size: W, H.
        scale: px of level 0 per px of the map.
        mpp: µm per px of the map.

    Raises:
        UserError: the folder holds other files.
    """
    with replaced_folder(path, _RECORD) as partial, write_errors_named(path):
        group = zarr.open_group(partial, mode="w", zarr_format=2)
        shapes = _level_shapes(size)
        levels = [_new_level(group, str(number), shape) for number, shape in enumerate(shapes)]
        _paint(tables, levels[0], scale)
        for finer, coarser in pairwise(levels):
            _halve(finer, coarser)
        group.attrs.update(_metadata(len(levels), mpp))


def write_label_tiff(label_zarr: Path, path: Path, mpp: float) -> None:
    """Copy an OME-Zarr of `write_label_zarr` to an OME-TIFF.

    Args:
        label_zarr: the folder.
        path: ends in .ome.tiff.
        mpp: µm per px of the first level.
    """
    group = zarr.open_group(label_zarr, mode="r")
    levels: list[Any] = [group[name] for name in sorted(group.array_keys(), key=int)]
    form = {
        "dtype": np.uint32,
        "tile": (_TILE, _TILE),
        "compression": "zlib",
        "photometric": "minisblack",
    }
    sizes = {f"PhysicalSize{axis}": mpp for axis in "XY"}  # in µm, if nothing is said
    about = {"axes": "YX", "UUID": _NO_UUID, **sizes}
    with written_whole(path) as partial, _ome_tiff(partial) as file:
        for number, level in enumerate(levels):
            place: Any = {"subfiletype": 1} if number else {"subifds": len(levels) - 1}
            about_level = None if number else about
            file.write(_tiles(level), shape=level.shape, metadata=about_level, **form, **place)


def _level_shapes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """H, W of each level, the last of at most one piece."""
    width, height = size
    shapes = [(height, width)]
    while max(shapes[-1]) > _PIECE:
        shapes.append(((shapes[-1][0] + 1) // 2, (shapes[-1][1] + 1) // 2))
    return shapes


def _new_level(group: zarr.Group, name: str, shape: tuple[int, int]) -> Any:
    """An array that takes no room where there are no nuclei."""
    return group.create_array(
        name,
        shape=shape,
        chunks=(_PIECE, _PIECE),
        dtype="uint32",
        fill_value=0,
        # Not Blosc, zarr's own choice: its bytes depend on the order in which threads end.
        compressors=numcodecs.Zstd(level=3),
        chunk_key_encoding={"name": "v2", "separator": "/"},
        config={"write_empty_chunks": False},
    )


def _paint(tables: Iterable[pa.Table], labels: Any, scale: float) -> None:
    best = np.full(1, -np.inf, dtype=np.float32)  # the score of each label
    for table in tables:
        if len(table):
            masks = [mask_within(each, scale) for each in shapely.from_wkb(table["geometry"])]
            ids, scores = table["id"].to_numpy(), table["score"].to_numpy()
            best = _with_scores(best, ids, scores)
            boxes = np.array([mask.box for mask in masks])
            (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
            area = slice(int(top), int(bottom)), slice(int(left), int(right))
            canvas = labels[area]
            for label, mask in zip(ids, masks, strict=True):
                moved = BoxMask(mask.left - left, mask.top - top, mask.pixels)
                _paint_nucleus(canvas, moved, label, best)
            labels[area] = canvas


def _with_scores(best: np.ndarray, ids: np.ndarray, scores: np.ndarray) -> np.ndarray:
    grown = np.full(max(len(best), ids.max() + 1), -np.inf, dtype=np.float32)
    grown[: len(best)] = best
    grown[ids] = scores
    return grown


def _paint_nucleus(canvas: np.ndarray, mask: BoxMask, label: int, best: np.ndarray) -> None:
    """Paint it where nothing better lies; of equal scores the first `id` is better."""
    there = canvas[mask.in_image]
    worse = (best[there] < best[label]) | ((best[there] == best[label]) & (there > label))
    there[mask.pixels & worse] = label


def _halve(finer: Any, coarser: Any) -> None:
    """Every other px, whose centre it keeps: labels cannot be averaged."""
    for area in _areas(coarser.shape, _PIECE):
        rows, columns = (slice(2 * side.start, 2 * side.stop) for side in area)
        piece = finer[rows, columns]
        if piece.any():
            coarser[area] = piece[::2, ::2]


def _areas(shape: tuple[int, int], side: int) -> Iterator[tuple[slice, slice]]:
    """The squares, cut at the end, that cover a map, row after row."""
    for top, left in product(range(0, shape[0], side), range(0, shape[1], side)):
        yield slice(top, min(top + side, shape[0])), slice(left, min(left + side, shape[1]))


def _tiles(level: Any) -> Iterator[np.ndarray]:
    """The tiles of a level, whole ones at the end, too, row after row."""
    for area in _areas(level.shape, _TILE):
        piece = level[area]
        tile = np.zeros((_TILE, _TILE), dtype=np.uint32)
        tile[: piece.shape[0], : piece.shape[1]] = piece
        yield tile


def _ome_tiff(path: Path) -> tifffile.TiffWriter:
    return tifffile.TiffWriter(path, bigtiff=True, ome=True)


# Else tifffile writes one of the time and the machine, and no two files are the same.
_NO_UUID = "urn:uuid:00000000-0000-0000-0000-000000000000"


def _metadata(num_levels: int, mpp: float) -> dict[str, Any]:
    """What NGFF 0.4 asks of a multiscale image of labels."""
    axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in ("y", "x")]
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [{"type": "scale", "scale": [mpp * 2**level] * 2}],
        }
        for level in range(num_levels)
    ]
    multiscale = {"version": "0.4", "name": "nuclei", "axes": axes, "datasets": datasets}
    return {"multiscales": [multiscale], "image-label": {"version": "0.4"}}
