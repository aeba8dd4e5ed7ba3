"""Train or evaluate a model.

    cfrsam train --config-file configs/prompt_learner.yaml [KEY VALUE …]
    cfrsam train --config-file configs/cfrsam_b.yaml --num-gpus 2
    cfrsam train --config-file configs/cfrsam_b.yaml --resume
    cfrsam train --config-file configs/cfrsam_b.yaml --eval-only [MODEL.WEIGHTS FILE]

Training evaluates on DATASETS.VAL and keeps the best weights in OUTPUT_DIR/model_best.pth. When it
ends, they are scored on DATASETS.TEST. A run that was interrupted continues with --resume.
"""

import argparse
import os
from collections.abc import Sequence

from ..command_line import build_parser
from ..errors import exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    """The switches of Detectron2's `default_argument_parser`, which would import PyTorch first."""
    parser = build_parser(__doc__)
    add = parser.add_argument
    add("--config-file", default="", metavar="FILE", help="of either stage")
    add("--resume", action="store_true", help="go on from the last checkpoint in OUTPUT_DIR")
    add("--eval-only", action="store_true", help="score trained weights on DATASETS.TEST")
    add("--num-gpus", type=int, default=1, help="of each machine (default: %(default)s)")
    add("--num-machines", type=int, default=1, help="default: %(default)s")
    add("--machine-rank", type=int, default=0, help="of this machine (default: %(default)s)")
    # A port that is the user's own: processes left over from another run are then noticed.
    port = 2**15 + 2**14 + hash(os.getuid() if hasattr(os, "getuid") else 1) % 2**14
    add("--dist-url", default=f"tcp://127.0.0.1:{port}", help="where processes meet")
    add("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train or evaluate."""
    args = command_parser().parse_args(arguments)
    from ..apps import train  # takes seconds

    train.run(args)
