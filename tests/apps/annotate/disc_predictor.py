"""A tiny model whose mask head cuts a disc out around each prompt: all about a page is known."""

from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import build_model
from tiny_demo import TINY
from torch import nn

from cfrsam_d2.engine import load_config
from cfrsam_d2.predictor import NucleusPredictor

CONFIG = Path(__file__).resolve().parents[3] / "configs" / "train_demo" / "cfrsam.yaml"
RADIUS = 6  # px, of a disc


def image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiny_weights(folder: Path) -> Path:
    torch.manual_seed(0)
    model = build_model(load_config(str(CONFIG), TINY))
    torch.save({"model": model.state_dict()}, folder / "tiny.pth")
    return folder / "tiny.pth"


def with_discs(predictor: NucleusPredictor) -> NucleusPredictor:
    """Let the model's mask head cut out discs, and count in `encoded` what it encodes."""
    head = predictor.model.mask_head

    def discs(maps, prompts, prompt_image):
        height, width = maps.frame_size
        rows, columns = torch.arange(height)[:, None], torch.arange(width)
        x, y = (each[:, None, None] for each in prompts.flatten(1)[:, :2].unbind(dim=1))
        masks = (columns - x) ** 2 + (rows - y) ** 2 <= RADIUS**2
        return masks, torch.full((len(prompts),), 0.75), None

    head.inference = discs
    predictor.encoded = count_calls(predictor.model.backbone)
    return predictor


def count_calls(module: nn.Module) -> list[int]:
    """A list that gets the size of the batch whenever the module is called."""
    calls: list[int] = []
    module.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    return calls
