"""Optimisers' parameter groups, gradient clipping and learning rates."""

from .build import build_lr_scheduler, get_default_optimizer_params  # noqa: F401
