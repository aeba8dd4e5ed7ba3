"""`cfrsam COMMAND …`: all commands behind one name, and the completion of their words in shells."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import argcomplete

from ..command_line import build_parser

# Each is a module beside this one, with `main` and `command_parser`.
COMMANDS = {
    "predict": "find the nuclei of images",
    "slides": "find the nuclei of whole slides",
    "annotate": "correct the nuclei of an image in a browser",
    "prepare": "make datasets of releases and of your own labels",
    "train": "train either stage",
    "evaluate": "score trained weights",
    "report": "write a page about runs",
    "download": "get pretrained weights",
    "doctor": "see whether this installation works",
    "convert": "turn released weights into the project's",
    "analyze": "count parameters and multiply-adds",
}


def command_parser() -> argparse.ArgumentParser:
    """Of all commands, as completion wants it; to run, each parses its own words."""
    parser = build_parser("Find, outline and classify every nucleus in H&E images.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, purpose in COMMANDS.items():
        own = _module(name).command_parser()
        commands.add_parser(name, parents=[own], add_help=False, help=purpose)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first word names."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS and "_ARGCOMPLETE" not in os.environ:
        sys.argv[0] = f"cfrsam {words[0]}"  # what its usage and errors call it
        _module(words[0]).main(words[1:])
        return
    parser = command_parser()
    argcomplete.autocomplete(parser)
    parser.parse_args(words)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f".{name}", __package__)
