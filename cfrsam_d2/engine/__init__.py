"""Training and evaluation, in the order of a run.

`config_file` reads configs, `checks` looks through them, `weights` fills models, `trainer` trains
them; the others are its parts.
"""

from .checks import check_registered
from .config_file import load_config, load_config_for
from .trainer import NucleusTrainer
from .weights import build_trained_model, load_initial_weights

__all__ = [
    "NucleusTrainer",
    "build_trained_model",
    "check_registered",
    "load_config",
    "load_config_for",
    "load_initial_weights",
]
