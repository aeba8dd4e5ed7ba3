"""The frozen Segment Anything image encoder and the adapters that teach it nuclei."""

from .encoder import SAMEncoder
from .mala import MALA
from .shared_encoder import SharedEncoder

__all__ = ["MALA", "SAMEncoder", "SharedEncoder"]
