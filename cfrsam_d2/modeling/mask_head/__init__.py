"""One mask per prompt: levels fused (HMFM), masks decoded (SAM), boundaries refined (BGMR)."""

from .head import ImageMaps, PointPromptedMaskHead, mask_head_parts

__all__ = ["ImageMaps", "PointPromptedMaskHead", "mask_head_parts"]
