"""CFR-SAM inside of other programs: `lazyslide`, `tiatoolbox`, `napari`, each with its extra, and a
script of QuPath."""

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import UserError


@contextmanager
def imports_of(extra: str) -> Iterator[None]:
    """
    Raises:
        UserError: the block imports what is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(
            f"{error.name} is not installed: `pip install 'cfrsam_d2[{extra}]'`"
        ) from error
