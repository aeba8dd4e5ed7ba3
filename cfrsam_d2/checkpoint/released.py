"""Turn the names of weights that the authors released into the project's own."""

import logging
import re
from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from .released_prompt_learner import PROMPT_LEARNER_RENAMES
from .released_segmenter import (
    BGMR_RENAMES,
    HMFM_RENAMES,
    MALA_RENAMES,
    SEGMENTER_RENAMES,
    UNUSED,
)

# A name that only this kind of checkpoint has, and how its names are turned into ours.
_KINDS = {
    "stage 1 (prompt learner)": (r"^deform_layer\.", PROMPT_LEARNER_RENAMES),
    "stage 2 (segmenter)": (r"^image_encoder\.", SEGMENTER_RENAMES),
    "MALA": (r"^gammax$", MALA_RENAMES),
    "HMFM": (r"^attn_conv\.", HMFM_RENAMES),
    "BGMR": (r"^img_er\.", BGMR_RENAMES),
}


def convert_published_state_dict(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the parameters of the model that the authors published, values untouched.

    Args:
        state_dict: by the authors' names: stage 1, stage 2, or one of the modules MALA, HMFM and
            BGMR alone; which of them is recognised from the names. A `module.` prefix is removed.

    Returns:
        The same values by the project's names. For the two stages these are the names in the
        meta-architectures (`proposal_generator.…`; `backbone.…` and `mask_head.…`); for a single
        module, its own. The released model's unused head is left out, and the log says so.

    Raises:
        UserError: the names are of no known kind, or some of them are not known.
    """
    named = {name.removeprefix("module."): value for name, value in state_dict.items()}
    unused = [name for name in named if re.match(UNUSED, name)]
    if unused:
        logging.getLogger(__name__).info(
            "Skipped %d entries of the unused head deep_out_conv.", len(unused)
        )
    kind, renames = _recognise(named)
    converted, unknown = {}, []
    for name in named:
        if name in unused:
            continue
        new_name = _rename(name, renames)
        if new_name is None:
            unknown.append(name)
        else:
            converted[new_name] = named[name]
    if unknown:
        raise UserError(
            f"{len(unknown)} names are not of a released {kind} checkpoint, for instance "
            f"{sorted(unknown)[0]!r}: convert the authors' file, unchanged"
        )
    return converted


def _recognise(names: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    for kind, (sign, renames) in _KINDS.items():
        if any(re.match(sign, name) for name in names):
            return kind, renames
    raise UserError(
        f"These {len(names)} names (first: {next(iter(names), None)!r}) are of no released "
        f"CFR-SAM checkpoint: give one of {', '.join(_KINDS)}"
    )


def _rename(name: str, renames: list[tuple[str, str]]) -> str | None:
    for old, new in renames:
        renamed, count = re.subn(old, new, name)
        if count:
            return renamed
    return None
