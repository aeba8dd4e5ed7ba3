"""What `tools/annotate.py` does: the page of one image, until it is interrupted."""

import signal
from collections.abc import Sequence
from pathlib import Path

from ...data.image_files import find_images
from ...errors import UserError
from ...predictor import NucleusPredictor
from .session import AnnotationSession


def annotate(
    image: Path,
    config_file: str | None,
    overrides: Sequence[str],
    output: Path,
    *,
    port: int | None,
    opens_browser: bool,
) -> None:
    """Serve the page.

    Args:
        image: PNG, JPEG or TIFF.
        config_file: of the whole of CFR-SAM; None: the small model of the project.
        overrides: key, value, key, value, …
        output: folder of exported files.
        port: by default a free one.
        opens_browser: or prints the address alone.

    Raises:
        UserError: what serves pages is not installed, or the image or the model cannot be used.
    """
    try:
        from .page import AnnotationPage
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise UserError(
            f"{error.name} is not installed: run `pip install 'cfrsam_d2[annotate]'`, in a clone "
            "`pip install -e '.[annotate]'`"
        ) from None
    images = find_images([image], output)  # the output must not overwrite the image
    if len(images) > 1:
        raise UserError(f"{image} has {len(images)} images: name one of them")
    path = images[0].path
    session = AnnotationSession(NucleusPredictor(config_file, overrides=overrides), path, path.name)
    # Nothing else ends the page, and a background job of a shell would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    AnnotationPage(session, output).launch(port, open_browser=opens_browser)
