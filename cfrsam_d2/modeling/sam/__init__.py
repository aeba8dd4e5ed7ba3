"""The frozen image encoder, SAM's or another, and the adapters that teach it nuclei."""

from .encoder import SAMEncoder
from .mala import MALA
from .shared_encoder import SharedEncoder
from .timm_encoder import TimmEncoder

__all__ = ["MALA", "SAMEncoder", "SharedEncoder", "TimmEncoder"]
