"""A slide of real-looking pixels, and a model that finds discs wherever a plug-in builds one."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "slides"))
from finders import CONFIG, KEYS
from known_prompts import find_discs

from cfrsam_d2.data.synthetic.rendering import render
from cfrsam_d2.data.synthetic.scene import random_scene
from cfrsam_d2.predictor import NucleusPredictor, slide_predictor
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_svs

# The discs have 18 px: no two overlap.
OVERRIDES = [*KEYS, "MODEL.PROMPT_LEARNER.SUPPRESSION_RADIUS", "48.0"]
MODEL = '"configs/cfrsam_b.yaml"', '"model_best.pth"', '["INPUT.MAGNIFICATION", "40"]'


def disc_predictor(*args: object) -> NucleusPredictor:
    """In place of `slide_predictor`."""
    predictor = slide_predictor(*args)
    find_discs(predictor.model.mask_head)
    return predictor


def write_slide(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Write an SVS of W×H px at 0.25 µm/px, all tissue: its pixels (H, W, 3) as it is read."""
    rng = np.random.default_rng(0)
    pixels = render(rng, random_scene(rng, "gland", 256, empty=False))
    write_svs(path, SyntheticPlane(pixels, size, glass=None))
    with openslide.OpenSlide(path) as slide:
        return np.asarray(slide.read_region((0, 0), 0, size).convert("RGB"))


def nuclei_of(pixels: np.ndarray, weights: Path) -> dict[bytes, tuple[str, Any]]:
    """Class and score that `NucleusPredictor` gives the mask (H, W) of each nucleus."""
    predictor = disc_predictor(CONFIG, weights, OVERRIDES)
    found = predictor(pixels)
    masks = (mask.frame(*pixels.shape[:2]).tobytes() for mask in found.pred_masks)
    names = [predictor.classes[each] for each in found.pred_classes]
    scores = [pytest.approx(score) for score in found.scores.tolist()]
    return dict(zip(masks, zip(names, scores, strict=True), strict=True))


def lines_of(page: str, number: int, weights: Path, overrides: list[str]) -> str:
    """A block of a page's Python, with the tiny model in place of the one that it names."""
    text = (CONFIG.parents[2] / "docs" / page).read_text()
    block = text.split("```python\n")[number + 1].split("```")[0]
    for name, tiny in zip(MODEL, (str(CONFIG), str(weights), overrides), strict=True):
        block = block.replace(name, repr(tiny))
    return block
