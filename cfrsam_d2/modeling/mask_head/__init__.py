"""One mask a point: levels fused (HMFM), masks decoded (SAM), boundaries refined (BGMR)."""

from .head import ImageMaps, PointPromptedMaskHead

__all__ = ["ImageMaps", "PointPromptedMaskHead"]
