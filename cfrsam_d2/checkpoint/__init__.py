"""Weights in and out: the project's checkpoints, and those that others released."""

from .released import convert_published_state_dict

__all__ = ["convert_published_state_dict"]
