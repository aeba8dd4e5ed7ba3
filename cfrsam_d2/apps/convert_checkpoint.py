"""What `tools/convert_checkpoint.py` does: released weights into a checkpoint of the project."""

import os
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

from ..checkpoint.conversion import (
    STAGE1,
    Conversion,
    check_fit,
    convert_file,
    merge_stages,
)
from ..checkpoint.files import write_checkpoint
from ..engine import load_config
from ..errors import UserError


def describe(conversion: Conversion) -> str:
    """The entry of the file that was taken, and a table of its parts."""
    taken = f"entry {conversion.entry!r}" if conversion.entry else "a bare state dict"
    if conversion.other_entries:
        taken += f" (not used: {', '.join(conversion.other_entries)})"
    rows = [
        (part.name or "skipped (unused)", part.source, part.entries, part.numbers)
        for part in conversion.parts
    ]
    headers = ("part", "in the file", "entries", "numbers")
    table = tabulate(rows, headers, intfmt=",")
    return f"{conversion.path}, stage {conversion.stage}, {taken}\n\n{table}\n"


def convert(
    source: str, output: str, config_file: str, overrides: Sequence[str], stage1: str | None
) -> None:
    """Write a checkpoint that fills the config's model, or that of one of its stages.

    Args:
        source: a released checkpoint.
        output: where the project's goes.
        config_file: of the model that `source` has to fill.
        overrides: key, value, key, value, …
        stage1: a checkpoint of stage 1, to be merged in.

    Raises:
        UserError: a file cannot be used, or the weights do not fit.
    """
    _check_paths(source, output, stage1)
    cfg = load_config(config_file, overrides)
    conversion = convert_file(source)
    print(describe(conversion))
    check_fit(conversion, cfg)
    checkpoint: dict[str, Any] = {"model": conversion.weights}
    if stage1:
        learner = convert_file(stage1)
        print(describe(learner))
        checkpoint["model"] = merge_stages(learner, conversion)
        check_fit(learner, cfg)
    elif not any(name.startswith(STAGE1) for name in conversion.weights):
        # Stage 1 is to come from MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS, whatever weights it has.
        checkpoint["left_out"] = dict.fromkeys(STAGE1)
    write_checkpoint(output, checkpoint)


def _check_paths(source: str, output: str, stage1: str | None) -> None:
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        raise UserError(f"{folder} does not exist: make it, or let OUT name another folder")
    for path in filter(None, (source, stage1)):
        if os.path.realpath(path) == os.path.realpath(output):
            raise UserError(f"{path} would be overwritten: give OUT another name")
