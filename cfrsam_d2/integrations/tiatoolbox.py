"""CFR-SAM as a model of TIAToolbox, and the nuclei of `tools/slides.py` as its annotations.

TIAToolbox joins dense maps of patches. So that nuclei on the seam of two come out whole, a pixel
of the map says where the point lies that prompted its nucleus: both patches say the same.

B patches of H×W px, T px of the core of a patch that counts, N nuclei.
"""

# pyright: reportMissingImports=false
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.structures import Instances
from torch import Tensor, nn

from ..errors import UserError
from ..export.outlines import mask_polygons
from ..files import written_whole
from ..predictor import slide_predictor
from ..structures.label_map import label_masks
from ..structures.masks import BoxMask
from . import imports_of

with imports_of("tiatoolbox"):
    import dask.array as da
    import pyarrow as pa
    import shapely
    from tiatoolbox.annotation import Annotation, SQLiteStore
    from tiatoolbox.models.engine.io_config import IOSegmentorConfig
    from tiatoolbox.models.models_abc import ModelABC
    from tiatoolbox.utils.misc import pad_contours

    from ..slides.table import FEATURES
    from ..slides.writers.parquet import read_tables

_TASK = "nuclei_segmentation"
_CORES_PER_TILE = 4  # of TIAToolbox's tiles, in which it takes nuclei out of the maps
_MARGIN = 128  # px between such tiles that it looks at twice


class NucleusModel(ModelABC):
    """Finds the nuclei of patches, `MultiTaskSegmentor(model=NucleusModel(config, weights))`.

    Attributes:
        ioconfig: patches of SLIDE.TILE px with SLIDE.HALO px around at the model's resolution, to
            give to `MultiTaskSegmentor.run`.
        class_dict: of its one task, the names of the classes by `type`; 0 is background.
    """

    def __init__(
        self,
        config: str | os.PathLike,
        weights: str | os.PathLike | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        """Arguments and errors are as of `slide_predictor`."""
        super().__init__()
        predictor = slide_predictor(config, weights, overrides)
        self.network: nn.Module = predictor.model
        self.class_dict = {_TASK: dict(enumerate(["background", *predictor.classes]))}
        self.halo = predictor.cfg.SLIDE.HALO
        self.ioconfig = _io_config(
            predictor.cfg.SLIDE.TILE, self.halo, 10 / predictor.cfg.INPUT.MAGNIFICATION
        )

    @torch.compiler.disable  # nuclei have no fixed number
    def forward(self, images: Tensor) -> Tensor:
        """Find the nuclei of each patch by itself.

        Args:
            images: (B, H, W, 3) RGB, 0..255.

        Returns:
            (B, T, T, 4) float32 of the patch without its halo: `dense_map`.
        """
        found = self.network([{"image": image} for image in images.permute(0, 3, 1, 2)])
        maps = torch.stack([dense_map(each["instances"]) for each in found])
        height, width = images.shape[1:3]
        return maps[:, self.halo : height - self.halo, self.halo : width - self.halo]

    @staticmethod
    def infer_batch(
        model: nn.Module, batch_data: np.ndarray | Tensor, *, device: str
    ) -> tuple[np.ndarray]:
        """The one map of `forward`.

        Args:
            model: a NucleusModel, perhaps wrapped.
            batch_data: as `forward` takes them.
            device: to compute on.
        """
        with torch.no_grad():
            return (model(torch.as_tensor(batch_data).to(device)).numpy(force=True),)

    @staticmethod
    def preproc(image: np.ndarray) -> np.ndarray:
        """RGB as it is: the network normalises it."""
        return image

    @staticmethod
    def postproc(raw_maps: Sequence[Any], offset: tuple[int, int] = (0, 0)) -> tuple[dict]:
        """Take the nuclei out of a map that may be of many patches.

        Args:
            raw_maps: the one of `infer_batch`, (H, W, 4), of NumPy or Dask, which all arrays that
                are returned are then of.
            offset: x, y to add to all coordinates, px.

        Returns:
            TIAToolbox's form of instances: `predictions` (H, W) int32, 0 is background, and in
            `info_dict` of the N nuclei `box` (N, 4) XYXY, `centroid` (N, 2), `contours` along the
            edges of pixels without holes (N, C, 2), padded, `type` (N,) and `prob` (N,).
        """
        dense = np.asarray(raw_maps[0])
        like_given = da.from_array if isinstance(raw_maps[0], da.Array) else np.asarray
        labels = _label_map(dense)
        nuclei = [
            _describe(mask, dense[mask.in_image], np.array(offset))
            for _, mask in label_masks(labels)
        ]
        return (
            {
                "task_type": _TASK,
                "seg_type": "instance",
                "predictions": like_given(labels),
                "info_dict": {name: like_given(each) for name, each in _columns(nuclei).items()},
            },
        )


def _io_config(tile: int, halo: int, mpp: float) -> IOSegmentorConfig:
    resolution = {"units": "mpp", "resolution": mpp}
    return IOSegmentorConfig(
        input_resolutions=[resolution],
        output_resolutions=[resolution],
        save_resolution=resolution,
        patch_input_shape=(tile + 2 * halo, tile + 2 * halo),
        patch_output_shape=(tile, tile),
        stride_shape=(tile, tile),
        tile_shape=(_CORES_PER_TILE * tile, _CORES_PER_TILE * tile),
        margin=_MARGIN,
    )


def dense_map(nuclei: Instances) -> Tensor:
    """The nuclei of an image by pixel.

    Args:
        nuclei: of size (H, W); of those that overlap, the better-scored one lies on top.

    Returns:
        (H, W, 4) float32: px to the right and down to the point that prompted the nucleus, its
        class from 1 on, its score; all 0 where there is none.
    """
    labels = nuclei.pred_masks.label_map()
    classes = nuclei.pred_classes[:, None] + 1
    values = torch.cat([nuclei.pred_points.round(), classes, nuclei.scores[:, None]], dim=1)
    dense = torch.cat([values.new_zeros(1, 4), values])[labels.long()].float()
    rows, columns = labels.nonzero(as_tuple=True)
    dense[rows, columns, 0] -= columns
    dense[rows, columns, 1] -= rows
    return dense


def _label_map(dense: np.ndarray) -> np.ndarray:
    """Number the pixels of a dense map by the points that they name: (H, W) int32."""
    labels = np.zeros(dense.shape[:2], dtype=np.int32)
    rows, columns = np.nonzero(dense[..., 2])
    right, down = np.rint(dense[rows, columns, :2]).astype(np.int64).T
    points = ((rows + down) << 32) + columns + right
    labels[rows, columns] = np.unique(points, return_inverse=True)[1] + 1
    return labels


def _describe(mask: BoxMask, dense: np.ndarray, offset: np.ndarray) -> dict[str, Any]:
    """A nucleus as TIAToolbox's `info_dict` has it.

    Args:
        mask: in the map.
        dense: the map in its box, (h, w, 4).
        offset: x, y to add to all coordinates.
    """
    values = dense[mask.pixels]
    _, _, kind, score = values[values[:, 3].argmax()]  # of two patches, the surer one
    rows, columns = np.nonzero(mask.pixels)
    centre = np.array([mask.left + columns.mean() + 0.5, mask.top + rows.mean() + 0.5])
    outer_ring = mask_polygons(mask)[0][0][:-1]
    return {
        "box": np.array(mask.box, np.int32) + np.tile(offset, 2).astype(np.int32),
        "centroid": centre + offset,
        "contours": np.array(outer_ring, np.int32) + offset.astype(np.int32),
        "type": np.int32(kind),
        "prob": np.float32(score),
    }


def _columns(nuclei: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The nuclei by field."""
    columns = {name: np.array([each[name] for each in nuclei]) for name in ("type", "prob")}
    for name, sides in (("box", 4), ("centroid", 2)):
        columns[name] = np.array([each[name] for each in nuclei]).reshape(-1, sides)
    contours = [each["contours"] for each in nuclei]
    columns["contours"] = pad_contours(contours) if nuclei else np.zeros((0, 0, 2), np.int32)
    return columns


def write_annotations(path: str | os.PathLike, store: str | os.PathLike) -> int:
    """Write the nuclei that `tools/slides.py` found as TIAToolbox's annotations.

    They have their whole outlines in px of level 0, `type` (the class's name), `prob` and all
    features as properties, and their `id` as key.

    Args:
        path: of `nuclei.parquet`; a chunk of it is held at a time.
        store: the SQLite file that is made or replaced, `.db`.

    Returns:
        How many there are.

    Raises:
        UserError: see `read_tables` and `written_whole`, or this Python's SQLite does not do.
    """
    if not hasattr(sqlite3.Connection, "enable_load_extension"):
        raise UserError(
            f"{store} cannot be written, as TIAToolbox's files need an sqlite3 that loads "
            "extensions, which this Python is built without: take one of conda, uv or the system"
        )
    count = 0
    with written_whole(Path(store)) as partial:
        annotations = SQLiteStore(partial)
        for table in read_tables(Path(path)):
            keys = [str(each) for each in table["id"].to_pylist()]
            count += len(annotations.append_many(list(_annotations(table)), keys))
        annotations.close()
    return count


def _annotations(table: pa.Table) -> Iterator[Annotation]:
    names = ["class", "score", *FEATURES]
    rows = table.select(names).rename_columns(["type", "prob", *FEATURES]).to_pylist()
    for geometry, row in zip(shapely.from_wkb(table["geometry"].to_numpy()), rows, strict=True):
        yield Annotation(geometry, row)
