"""What all command lines share: their usage, `--version`, and waiting threads that let others work.

Like `errors`, it imports nothing that takes time: a command line is read before PyTorch is loaded.
"""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from ._version import __version__
from .remote_path import RemotePath

Input = TypeVar("Input", Path, Path | RemotePath)


def build_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose usage is a script's docstring, and which knows `--version`, -v and -q."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"cfrsam_d2 {__version__}")
    loudness = parser.add_mutually_exclusive_group()
    loudness.add_argument(
        *("-v", "--verbose"), action=_Loudness, const=logging.INFO, help="say more of what is done"
    )
    loudness.add_argument(
        *("-q", "--quiet"), action=_Loudness, const=logging.ERROR, help="no bars, only errors"
    )
    return parser


class _Loudness(argparse.Action):
    """Sets, when it is met, which messages are shown, and for errors alone no bars."""

    def __init__(self, *names: Any, **options: Any) -> None:
        super().__init__(*names, nargs=0, default=argparse.SUPPRESS, **options)

    def __call__(self, parser: argparse.ArgumentParser, *parsed: Any) -> None:
        logging.basicConfig(format="%(message)s", level=self.const, force=True)
        if self.const == logging.ERROR:
            os.environ["TQDM_DISABLE"] = "1"  # read when tqdm is imported, which is later


def parse_with_keys(
    parser: argparse.ArgumentParser, arguments: Sequence[str] | None
) -> tuple[argparse.Namespace, list[str]]:
    """Options, and the KEY VALUE pairs that are left; what looks like an option is refused."""
    args, overrides = parser.parse_known_args(arguments)
    if unknown := [word for word in overrides if word.startswith("--")]:
        parser.error(f"{unknown[0]} is no option")
    return args, overrides


def split_inputs(words: Sequence[Input]) -> tuple[Sequence[Input], list[str]]:
    """Files, and the KEY VALUE pairs that follow them: a key is in upper case and no file."""
    is_key = (
        isinstance(word, Path) and str(word).isupper() and not word.exists() for word in words
    )
    count = next((i for i, each in enumerate(is_key) if each), len(words))
    return words[:count], [str(word) for word in words[count:]]
