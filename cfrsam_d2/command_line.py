"""What all command lines share: their usage, `--version`, and waiting threads that let others work.

Like `errors`, it imports nothing that takes time: a command line is read before PyTorch is loaded.
"""

import argparse
from collections.abc import Sequence

from ._version import __version__


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose usage is a script's docstring, and which knows `--version`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"cfrsam_d2 {__version__}")
    return parser


def parse_with_keys(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Options, and the KEY VALUE pairs that are left; what looks like an option is refused."""
    args, overrides = parser.parse_known_args(arguments)
    if unknown := [word for word in overrides if word.startswith("--")]:
        parser.error(f"{unknown[0]} is no option")
    return args, overrides
