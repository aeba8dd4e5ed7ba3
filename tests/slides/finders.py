"""Models that find something on slides without training, and the slides' files told apart."""

from pathlib import Path

import torch
from detectron2.modeling import build_model
from tiny_quickstart import TINY

from cfrsam_d2.engine import load_config

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "quickstart" / "cfrsam.yaml"
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


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a slide but the one that tells times."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "summary.json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
