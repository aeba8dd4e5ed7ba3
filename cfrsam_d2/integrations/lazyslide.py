"""CFR-SAM as LazySlide's model `cfrsam`, and the nuclei of `tools/slides.py` in a WSIData.

B tiles of H×W px, K classes.
"""

# pyright: reportMissingImports=false
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.structures import Instances
from torch import Tensor
from torchvision.transforms.v2 import Transform

from ..predictor import slide_predictor
from . import imports_of

with imports_of("lazyslide"):
    import geopandas
    import lazyslide_models
    import pyarrow as pa
    import shapely
    from lazyslide_models import InputConstraint, ModelTask, SegmentationModel, SegmentationOutput
    from torchvision.transforms.v2 import ToImage
    from wsidata import WSIData
    from wsidata.io import add_shapes

    from ..slides.table import SCHEMA
    from ..slides.writers.parquet import read_tables

_NAMES = {"id": "cell_id", "score": "prob"}  # as `zs.seg.cells` calls them
_LEFT_OUT = ["bbox", "class_id", "x", "y"]


@lazyslide_models.register(
    key="cfrsam",
    task=ModelTask.segmentation,
    description="CFR-SAM: nuclei of H&E, outlined and classified",
    license="Apache 2.0",
    input_constraint=InputConstraint(min=256, divisible_by=32),
)
class CFRSAMSegmentation(SegmentationModel):
    """Finds the nuclei of tiles, `zs.seg.cells(wsi, model="cfrsam", config=…, weights=…)`."""

    def __init__(
        self,
        config: str | os.PathLike,
        weights: str | os.PathLike | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        """Arguments and errors are as of `slide_predictor`."""
        predictor = slide_predictor(config, weights, overrides)
        self.model = predictor.model
        self.classes = tuple(predictor.classes)
        self.mpp = 10 / predictor.cfg.INPUT.MAGNIFICATION

    def get_transform(self) -> Transform:
        """What makes a tile (H, W, 3) uint8 the tensor (3, H, W) uint8 that `segment` takes."""
        return ToImage()

    @torch.no_grad()
    def segment(self, image: Tensor) -> SegmentationOutput:
        """Find the nuclei of each tile by itself.

        Args:
            image: (B, 3, H, W) RGB, 0..255.

        Returns:
            `instance_map` (B, H, W) int32, 0 is background; `probability_map` (B, K, H, W) float32,
            a nucleus's score in the channel of its class on its pixels, 0 elsewhere; `classes`. Of
            nuclei that overlap, the better-scored one lies on top.
        """
        found = [each["instances"] for each in self.model([{"image": tile} for tile in image])]
        labels = torch.stack([nuclei.pred_masks.label_map() for nuclei in found])
        scores = [
            _score_map(nuclei, each, len(self.classes))
            for nuclei, each in zip(found, labels, strict=True)
        ]
        return SegmentationOutput(
            instance_map=labels, probability_map=torch.stack(scores), classes=self.classes
        )


def _score_map(nuclei: Instances, labels: Tensor, num_classes: int) -> Tensor:
    """(K, H, W) float32 of labels (H, W)."""
    by_label = labels.new_zeros((len(nuclei) + 1, num_classes), dtype=torch.float32)
    by_label[torch.arange(1, len(by_label)), nuclei.pred_classes] = nuclei.scores.float()
    return by_label[labels.long()].permute(2, 0, 1)


def add_nuclei(wsi: WSIData, path: str | os.PathLike, key: str = "cells") -> int:
    """Add the nuclei that `tools/slides.py` found to the shapes of a slide.

    Args:
        wsi: the same slide, opened by `wsidata.open_wsi`.
        path: of `nuclei.parquet`.
        key: of the shapes, which have `cell_id`, `class`, `prob` and all features.

    Returns:
        How many there are; without any no shapes are added, as SpatialData has no empty ones.

    Raises:
        UserError: see `read_tables`.
    """
    tables = [SCHEMA.empty_table(), *read_tables(Path(path))]
    table = pa.concat_tables(tables, promote_options="permissive")
    geometry = shapely.from_wkb(table["geometry"].to_numpy())
    rows = table.drop_columns(["geometry", *_LEFT_OUT]).to_pandas().rename(columns=_NAMES)
    if len(rows):
        add_shapes(wsi, key, geopandas.GeoDataFrame(rows, geometry=geometry))
    return len(rows)
