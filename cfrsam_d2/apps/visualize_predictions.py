"""What `tools/visualize_predictions.py` does: pictures of a trained model's predictions."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from tqdm import tqdm

from ..data.image import read_rgb
from ..data.mapper import NucleusMapper
from ..engine import build_trained_model
from ..visualization import choose_images, draw_picture, write_picture


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
