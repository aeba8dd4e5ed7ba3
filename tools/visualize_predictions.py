#!/usr/bin/env python
"""Draw the predictions of a trained model beside the ground truth: contours and points by class.

    python tools/visualize_predictions.py --config-file configs/cfrsam_b.yaml [KEY VALUE …]

Weights are MODEL.WEIGHTS, or else the best or final ones in OUTPUT_DIR. A model of stage 1 predicts
points alone.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.config import CfgNode

from cfrsam_d2.data.image import read_rgb
from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.engine import build_trained_model, load_config_for
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.visualization import choose_images, draw_picture, write_picture


@torch.no_grad()
def draw_predictions(cfg: CfgNode, dataset_name: str, count: int, folder: Path) -> None:
    """Run the trained model on evenly chosen images of a dataset and write a picture of each."""
    dataset_dicts = choose_images(dataset_name, count)
    model = build_trained_model(cfg)
    read = NucleusMapper(cfg, is_train=False)
    for dataset_dict in tqdm(dataset_dicts, unit="image"):
        instances = model([read(dataset_dict)])[0]["instances"]
        image = read_rgb(dataset_dict["file_name"])
        picture = draw_picture(dataset_name, dataset_dict, image, instances)
        write_picture(folder, dataset_dict, picture)


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, help="of either stage")
    parser.add_argument("--dataset", help="default: the first of DATASETS.TEST")
    parser.add_argument("--count", type=int, default=8, help="pictures, evenly from the dataset")
    parser.add_argument("--output", type=Path, help="default: OUTPUT_DIR/pictures/DATASET")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE … override the file")
    args = parser.parse_args(arguments)
    cfg, name = load_config_for(args.config_file, args.opts, args.dataset)
    folder = args.output or Path(cfg.OUTPUT_DIR, "pictures", name)
    draw_predictions(cfg, name, args.count, folder)
    print(f"Pictures are in {folder}")


if __name__ == "__main__":
    main()
