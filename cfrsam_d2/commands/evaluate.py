"""Score trained weights on DATASETS.TEST.

    cfrsam evaluate --config-file configs/cfrsam_b.yaml [MODEL.WEIGHTS FILE] [KEY VALUE …]

It is `cfrsam train --eval-only`: weights are MODEL.WEIGHTS, or else the best or final ones in
OUTPUT_DIR.
"""

import argparse
import sys
from collections.abc import Sequence

from . import train


def command_parser() -> argparse.ArgumentParser:
    return train.command_parser()


def main(arguments: Sequence[str] | None = None) -> None:
    train.main(["--eval-only", *(sys.argv[1:] if arguments is None else arguments)])
