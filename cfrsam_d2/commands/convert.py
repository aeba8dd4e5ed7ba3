"""Turn a released checkpoint of either stage into the project's, completely or not at all.

    cfrsam convert IN OUT --config-file configs/prompt_learner.yaml
    cfrsam convert IN OUT --config-file configs/cfrsam_b.yaml \\
        --prompt-learner STAGE1

Which stage IN is of is seen from its weights' names. With --prompt-learner, a checkpoint of stage
1, the authors' or the project's, OUT is the whole of CFR-SAM: `train_net.py --eval-only
MODEL.WEIGHTS OUT` needs no other file. docs/model-zoo.md lists what the authors released.
"""

import argparse
from collections.abc import Sequence

from ..command_line import build_parser
from ..errors import exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument("input", metavar="IN", help="a checkpoint that the authors released")
    parser.add_argument("output", metavar="OUT", help="where the project's checkpoint goes, a .pth")
    parser.add_argument("--config-file", required=True, help="of the model that IN has to fill")
    parser.add_argument(
        "--prompt-learner", metavar="STAGE1", help="a checkpoint of stage 1, to be merged in"
    )
    parser.add_argument("opts", metavar="KEY VALUE", nargs="*", help="override the config file")
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    # IN and OUT come before the options.
    args = command_parser().parse_intermixed_args(arguments)
    from ..apps.convert_checkpoint import convert  # takes seconds

    convert(args.input, args.output, args.config_file, args.opts, args.prompt_learner)
    print(f"Wrote {args.output}: every weight of it is filled, and none of the file is left over.")
