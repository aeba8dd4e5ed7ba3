"""What `tools/analyze_model.py` prints: a model's size, or all of stage 2 beside the paper's."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..complexity import IMAGE_SIZE, Cost, analyze_model, count_trainable
from ..engine import load_config
from ..evaluation.paper_scores import TRAINABLE

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Why a count is not the paper's.
NOTES = {
    "cfrsam_h": "the released code has 18.80 M, too",
    "ablations/mala_static_large": "by its rank; the paper leaves open how",
}
NOT_COUNTED = "no count of the paper is at hand"


def as_table(costs: dict[str, Cost]) -> str:
    """Parameters in millions, multiply-adds in billions."""
    rows = [
        (
            name,
            cost.parameters / 1e6,
            cost.trainable / 1e6,
            cost.macs / 1e9,
            cost.macs_per_further_nucleus / 1e9,
        )
        for name, cost in costs.items()
    ]
    headers = (
        "part",
        "parameters\n(M)",
        "trainable\n(M)",
        f"multiply-adds (G)\n{IMAGE_SIZE}×{IMAGE_SIZE}, 1 nucleus",
        "each further\nnucleus (G)",
    )
    return tabulate(rows, headers, floatfmt=".3f")


def compare_with_paper(overrides: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By config: parameters of stage 2 that train, the paper's, the difference, a note.

    Where the paper has no count, that and the difference are None.

    Args:
        overrides: key, value, key, value, … for all configs.
    """
    files = [*(CONFIGS / f"cfrsam_{model}.yaml" for model in "bh")]
    files += sorted((CONFIGS / "ablations").rglob("*.yaml"))
    compared = {}
    for file in files:
        cfg = load_config(str(file), ["MODEL.DEVICE", "cpu", *overrides])
        if cfg.MODEL.META_ARCHITECTURE != "CFRSAM":
            continue  # of stage 1
        name = file.relative_to(CONFIGS).with_suffix("").as_posix()
        compared[name] = compare_count(name, count_trainable(cfg))
    return compared


def compare_count(name: str, trainable: int) -> dict[str, Any]:
    """An entry of `compare_with_paper`."""
    if name not in TRAINABLE:
        return {"trainable": trainable, "paper": None, "difference": None, "note": NOT_COUNTED}
    paper = round(TRAINABLE[name] * 1e6)
    return {
        "trainable": trainable,
        "paper": paper,
        "difference": trainable - paper,
        "note": NOTES.get(name, ""),
    }


def as_comparison(compared: dict[str, dict[str, Any]]) -> str:
    """Parameters in millions."""
    rows = []
    for name, each in compared.items():
        counts = (each[key] for key in ("trainable", "paper", "difference"))
        millions = (None if count is None else count / 1e6 for count in counts)
        rows.append((name, *millions, each["note"]))
    headers = ("config", "trainable\n(M)", "paper\n(M)", "difference\n(M)", "note")
    return tabulate(rows, headers, floatfmt=("", ".2f", ".1f", "+.2f", ""))


def print_costs(config_file: str, overrides: Sequence[str], *, as_json: bool) -> None:
    """Parameters and multiply-adds of one config."""
    costs = analyze_model(load_config(config_file, overrides))
    if as_json:
        print(json.dumps({name: asdict(cost) for name, cost in costs.items()}, indent=2))
    else:
        print(as_table(costs))


def print_comparison(overrides: Sequence[str], *, as_json: bool) -> None:
    """Trainable parameters of all configs of stage 2 beside the paper's."""
    compared = compare_with_paper(overrides)
    print(json.dumps(compared, indent=2) if as_json else as_comparison(compared))
