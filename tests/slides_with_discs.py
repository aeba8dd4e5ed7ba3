"""tools/slides.py with a model that finds a disc around each of its points, untrained."""

import runpy
from pathlib import Path
from typing import Any

from known_prompts import find_discs

from cfrsam_d2.apps import slide_fleet
from cfrsam_d2.predictor import NucleusPredictor, slide_predictor


def predictor_of_discs(*args: Any, **kwargs: Any) -> NucleusPredictor:
    predictor = slide_predictor(*args, **kwargs)
    find_discs(predictor.model.mask_head)
    return predictor


slide_fleet.slide_predictor = predictor_of_discs
runpy.run_path(str(Path(__file__).parents[1] / "tools" / "slides.py"), run_name="__main__")
