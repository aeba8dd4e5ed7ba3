"""CFR-SAM on Detectron2: nuclei found by a prompt learner, cut out by an adapted Segment Anything.

The parts, in the order data meets them: `data` (dataset dict, mapper), `modeling.prompt_learner`
(points and classes), `modeling.sam` (encoder with MALA), `modeling.mask_head` (HMFM, mask decoder,
BGMR), `modeling.meta_arch` (the whole), `evaluation`.
"""

from . import standin

standin.install_if_missing()

from . import data, modeling  # noqa: E402, F401  (imported for registration)
from ._version import __version__  # noqa: E402
from .checkpoint import convert_published_state_dict  # noqa: E402
from .config import add_cfrsam_config  # noqa: E402
from .errors import UserError  # noqa: E402
from .evaluation import NucleusEvaluator  # noqa: E402

__all__ = [
    "NucleusEvaluator",
    "UserError",
    "__version__",
    "add_cfrsam_config",
    "convert_published_state_dict",
]
