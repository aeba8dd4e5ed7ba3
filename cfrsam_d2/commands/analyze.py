"""Count a model's parameters and multiply-adds, or the trainable parameters of all ablations.

    cfrsam analyze --config-file configs/cfrsam_b.yaml [--json] [KEY VALUE …]
    cfrsam analyze --all [--json] [KEY VALUE …]

Neither weights nor data are read. Multiply-adds are those of a 256×256 image with one nucleus, and
what each further nucleus adds, refined at full frame; deformable convolutions are not counted.
--all puts the trainable parameters of stage 2 beside the paper's: of cfrsam_b, cfrsam_h and every
config of stage 2 in configs/ablations/.
"""

import argparse
from collections.abc import Sequence

from ..command_line import build_parser
from ..errors import exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config-file", help="of either stage")
    which.add_argument("--all", action="store_true", help="all ablations beside the paper's")
    parser.add_argument("--json", action="store_true", help="print exact numbers as JSON")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args = command_parser().parse_args(arguments)
    from ..apps import analyze_model  # takes seconds

    if args.all:
        analyze_model.print_comparison(args.opts, as_json=args.json)
    else:
        analyze_model.print_costs(args.config_file, args.opts, as_json=args.json)
