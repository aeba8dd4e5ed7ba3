"""See whether this installation works: versions, devices, memory, weights, a prediction.

    cfrsam doctor

Ends with status 1 if something does not work. Its output is what a report of a problem should have.
"""

import argparse
import sys
from collections.abc import Sequence

from ..command_line import build_parser
from ..errors import exits_on_user_error


def command_parser() -> argparse.ArgumentParser:
    return build_parser(__doc__)


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    command_parser().parse_args(arguments)
    from ..apps.doctor import examine  # takes seconds

    if not examine():
        sys.exit(1)
