#!/usr/bin/env python
"""Export the networks of a trained model for ONNX Runtime, or as programs of torch.export.

    python tools/export_model.py [--config-file CONFIG] --output DIR [--form onnx|int8|torch]
        [--image FILE] [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR; without a config, the small
model that comes with the project is exported. Then model and export find the nuclei of an image, in
turn: an export stays only if it finds the same ones (mean IoU 0.999), and how fast both are is
told. --form int8 is ONNX with the encoder's linear layers in 8-bit integers (mean IoU 0.95).
DIR/config.yaml is a config as any other, for `tools/predict.py`, `tools/slides.py` and
`train_net.py --eval-only`. docs/export.md tells what is exported.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from cfrsam_d2.command_line import build_parser
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.model_zoo import small_model

IMAGE = Path(__file__).resolve().parents[1] / "datasets" / "example" / "cmu1_region.tif"


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = build_parser(__doc__)
    parser.add_argument("--config-file", help="of either stage; default: the small model")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--form", choices=("onnx", "int8", "torch"), default="onnx")
    parser.add_argument(
        "--image", type=Path, default=IMAGE, help="with nuclei; default: the example's"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the config")
    args = parser.parse_args(arguments)
    config = args.config_file or small_model()
    from cfrsam_d2.apps.export_model import export_from_files  # takes seconds

    export_from_files(config, args.output, args.form, args.image, args.opts)


if __name__ == "__main__":
    main()
