"""One mask a point: levels fused (HMFM), masks decoded (SAM), boundaries refined (BGMR)."""

from .head import LOSS_NAMES, PointPromptedMaskHead

__all__ = ["LOSS_NAMES", "PointPromptedMaskHead"]
