"""One mask a point: levels fused (HMFM), masks decoded (SAM), boundaries refined (BGMR)."""

from .head import PointPromptedMaskHead

__all__ = ["PointPromptedMaskHead"]
