"""Get pretrained weights that training starts from.

    cfrsam download sam-b|sam-l|sam-h|convnext-s [--output weights]

A download that was interrupted goes on when the same command is run again. What came is compared
with the hash that it should have. Proxies are taken from the environment (HTTPS_PROXY).
docs/model-zoo.md says what the files are, and whose terms they are under.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..command_line import build_parser
from ..errors import exits_on_user_error

NAMES = ("sam-b", "sam-l", "sam-h", "convnext-s")


def command_parser() -> argparse.ArgumentParser:
    parser = build_parser(__doc__)
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--output", type=Path, default=Path("weights"), help="folder (default: %(default)s)"
    )
    return parser


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    args = command_parser().parse_args(arguments)
    from ..apps.download import download

    for name in args.names:
        print(f"{name} is {download(name, args.output)}")
