"""Training and evaluation: `setup` reads configs, `trainer` runs them, the others are its parts."""

from .setup import build_trained_model, load_config, load_config_for
from .trainer import NucleusTrainer

__all__ = ["NucleusTrainer", "build_trained_model", "load_config", "load_config_for"]
