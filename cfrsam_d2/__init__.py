"""CFR-SAM on Detectron2: nuclei found by a prompt learner, cut out by an adapted Segment Anything.

The parts, in the order data meets them: `data` (dataset dict, mapper), `modeling.prompt_learner`
(points and classes), `modeling.sam` (encoder with MALA), `modeling.mask_head` (HMFM, mask decoder,
BGMR), `modeling.meta_arch` (the whole), `evaluation`.

What is named here is imported when it is first asked for, so that a command line is answered before
PyTorch is loaded. With it, or with any of the parts, comes what is registered with Detectron2.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import memory, standin, threads
from ._version import __version__
from .errors import UserError

if TYPE_CHECKING:
    from .checkpoint import convert_published_state_dict
    from .config import add_cfrsam_config
    from .evaluation import NucleusEvaluator

__all__ = [
    "NucleusEvaluator",
    "UserError",
    "__version__",
    "add_cfrsam_config",
    "convert_published_state_dict",
]

threads.wait_passively()
memory.use_huge_pages()
standin.install_if_missing()

_HOMES = {
    "NucleusEvaluator": "evaluation",
    "add_cfrsam_config": "config",
    "convert_published_state_dict": "checkpoint",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for part in ("data", "modeling"):  # datasets and architectures are registered
        import_module(f"{__name__}.{part}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
