"""Weights in and out: the project's checkpoints, published ones, Segment Anything's."""

from .released import convert_published_state_dict

__all__ = ["convert_published_state_dict"]
