#!/usr/bin/env python
"""Turn a released checkpoint of either stage into the project's, completely or not at all.

    python tools/convert_checkpoint.py IN OUT --config-file configs/prompt_learner.yaml
    python tools/convert_checkpoint.py IN OUT --config-file configs/cfrsam_b.yaml \\
        --prompt-learner STAGE1

Which stage IN is of is seen from its weights' names. With --prompt-learner, a checkpoint of stage
1, the authors' or the project's, OUT is the whole of CFR-SAM: `train_net.py --eval-only
MODEL.WEIGHTS OUT` needs no other file. docs/model-zoo.md lists what the authors released.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.checkpoint.conversion import (
    STAGE1,
    Conversion,
    check_fit,
    convert_file,
    merge_stages,
)
from cfrsam_d2.checkpoint.files import write_checkpoint
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError, exits_on_user_error


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


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", metavar="IN", help="a checkpoint that the authors released")
    parser.add_argument("output", metavar="OUT", help="where the project's checkpoint goes, a .pth")
    parser.add_argument("--config-file", required=True, help="of the model that IN has to fill")
    parser.add_argument(
        "--prompt-learner", metavar="STAGE1", help="a checkpoint of stage 1, to be merged in"
    )
    parser.add_argument("opts", metavar="KEY VALUE", nargs="*", help="override the config file")
    args = parser.parse_intermixed_args(arguments)  # IN and OUT come before the options
    folder = os.path.dirname(args.output) or "."
    if not os.path.isdir(folder):
        raise UserError(f"{folder} does not exist: make it, or let OUT name another folder")
    for path in filter(None, (args.input, args.prompt_learner)):
        if os.path.realpath(path) == os.path.realpath(args.output):
            raise UserError(f"{path} would be overwritten: give OUT another name")

    cfg = load_config(args.config_file, args.opts)
    conversion = convert_file(args.input)
    print(describe(conversion))
    check_fit(conversion, cfg)
    checkpoint: dict[str, Any] = {"model": conversion.weights}
    if args.prompt_learner:
        stage1 = convert_file(args.prompt_learner)
        print(describe(stage1))
        checkpoint["model"] = merge_stages(stage1, conversion)
        check_fit(stage1, cfg)
    elif not any(name.startswith(STAGE1) for name in conversion.weights):
        # Stage 1 is to come from MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS, whatever weights it has.
        checkpoint["left_out"] = dict.fromkeys(STAGE1)
    write_checkpoint(args.output, checkpoint)
    print(f"Wrote {args.output}: every weight of it is filled, and none of the file is left over.")


if __name__ == "__main__":
    main()
