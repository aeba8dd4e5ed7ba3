#!/usr/bin/env python
"""Show the nuclei of one image in a browser, add and remove them by clicks, and export.

    python tools/annotate.py IMAGE --config-file configs/cfrsam_b.yaml [--output DIR] [--port N]
        [--no-browser] [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. The page is served to this
machine alone, until the command is interrupted. docs/annotation.md says more.
"""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.apps.annotate import AnnotationSession
from cfrsam_d2.data.image_files import find_images
from cfrsam_d2.errors import UserError, exits_on_user_error
from cfrsam_d2.predictor import NucleusPredictor


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF")
    parser.add_argument("--config-file", required=True, help="of the whole of CFR-SAM")
    parser.add_argument(
        "--output", type=Path, default=Path("output/annotated"), help="folder of exported files"
    )
    parser.add_argument("--port", type=int, help="default: a free one from 7860 on")
    parser.add_argument("--no-browser", action="store_true", help="print the address alone")
    args, overrides = parser.parse_known_args(arguments)
    if unknown := [word for word in overrides if word.startswith("--")]:
        parser.error(f"{unknown[0]} is no option")
    if args.port is not None and not 0 < args.port < 2**16:
        raise UserError(f"--port is {args.port}: give 1 to 65535, or leave it out")
    try:
        from cfrsam_d2.apps.annotate.page import AnnotationPage
    except ModuleNotFoundError as error:
        if error.name != "gradio":
            raise
        raise UserError(
            "Gradio is not installed: run `pip install 'cfrsam_d2[annotate]'`, in a clone "
            "`pip install -e '.[annotate]'`"
        ) from None
    images = find_images([args.image], args.output)  # the output must not overwrite the image
    if len(images) > 1:
        raise UserError(f"{args.image} has {len(images)} images: name one of them")
    image = images[0].path
    predictor = NucleusPredictor(args.config_file, overrides=overrides)
    session = AnnotationSession(predictor, image, image.name)
    # Nothing else ends the page, and a background job of a shell would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    AnnotationPage(session, args.output).launch(args.port, open_browser=not args.no_browser)


if __name__ == "__main__":
    main()
