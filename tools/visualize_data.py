#!/usr/bin/env python
"""Draw images of a dataset beside their nuclei: contours and points, coloured by class.

    python tools/visualize_data.py --dataset pannuke_fold1
    python tools/visualize_data.py --dataset custom_train --config-file my.yaml

A config file is needed for what its DATASETS.CUSTOM names: custom_train, custom_val, custom_test.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.engine import check_registered, load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.visualization import choose_images, draw_picture, write_picture


@exits_on_user_error
def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", required=True, help="a registered dataset")
    parser.add_argument("--config-file", help="whose DATASETS.CUSTOM is registered")
    parser.add_argument("--count", type=int, default=8, help="pictures, evenly from the dataset")
    parser.add_argument("--output", type=Path, help="default: output/pictures/DATASET")
    args = parser.parse_args(arguments)
    if args.config_file:
        load_config(args.config_file)
    check_registered("--dataset", args.dataset)
    folder = args.output or Path("output/pictures", args.dataset)
    read = NucleusMapper(augmentation=None)
    for dataset_dict in tqdm(choose_images(args.dataset, args.count), unit="image"):
        image = read(dataset_dict)["image"].permute(1, 2, 0).numpy()
        write_picture(folder, dataset_dict, draw_picture(args.dataset, dataset_dict, image))
    print(f"Pictures are in {folder}")


if __name__ == "__main__":
    main()
