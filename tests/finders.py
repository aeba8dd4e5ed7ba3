"""Models that find something on slides without training, and the slides' files told apart."""

from pathlib import Path

import numpy as np
import torch
from detectron2.modeling import build_model
from killed_commands import DEMO, Command
from known_prompts import find_discs
from PIL import Image
from tiny_demo import TINY

from cfrsam_d2.engine import load_config
from cfrsam_d2.predictor import NucleusPredictor, slide_predictor

CONFIG = DEMO / "cfrsam.yaml"
KEYS = [
    *TINY,
    *("MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "96.0"),
    *("INPUT.MAGNIFICATION", "40", "SLIDE.TILE", "256", "SLIDE.HALO", "32"),
]


def write_weights(path: Path) -> None:
    """Weights of CONFIG with KEYS that nobody trained, and whose learner finds points."""
    torch.manual_seed(0)
    model = build_model(load_config(str(CONFIG), KEYS))
    # The last class is the background: with it, nobody knows how much an untrained model finds.
    torch.nn.init.constant_(model.proposal_generator.classification_head[-1].bias[-1:], -2)
    torch.save({"model": model.state_dict()}, path)


def finder(weights: Path, *keys: str) -> NucleusPredictor:
    """The predictor of slides with these weights, whose masks are discs."""
    predictor = slide_predictor(CONFIG, weights, [*KEYS, *keys])
    find_discs(predictor.model.mask_head)
    return predictor


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a slide but the one that tells times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "summary.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def command_on_three_chunks(pixels: np.ndarray, folder: Path) -> Command:
    """tools/slides.py on a strip of a slide with tissue where chunks meet.

    Args:
        pixels: of tissue, (h, w, 3) uint8.
        folder: of all files; `slides` in it is the output.
    """
    from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs

    slide, mask, weights = (folder / name for name in ("strip.svs", "mask.png", "weights.pth"))
    write_svs(slide, SyntheticPlane(pixels, (32 * 256, 256), glass=None), tile=256, levels=(1,))
    tissue = np.zeros((1, 256), np.uint8)  # 32 px each
    tissue[0, [119, 120, 239, 240]] = 255  # about 3840 and 7680 px
    Image.fromarray(tissue).save(mask)
    write_weights(weights)
    files = ["--output", str(folder / "slides"), "--config-file", str(CONFIG), "--mask", str(mask)]
    arguments = [str(slide), *files, *KEYS, "MODEL.WEIGHTS", str(weights)]
    return Command("tests/slides_with_discs.py", arguments, folder / "slides")
