"""The choice of images and nuclei that are shown, and their pictures."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ...data.image import read_rgb
from ...evaluation.pairing import ERRORS
from .error_analysis import Place
from .picture import Box, Layer, Picture, image_uri, layer, longest_side
from .run import Dataset, Run

EXAMPLES = 12  # of each kind of error
_MARGIN = 2  # px between a nucleus and its frame
_POINT_RADIUS = 8.0  # px; where there is no mask
_LEAST_WINDOW = 64  # px around a nucleus
_WINDOW_PER_NUCLEUS = 2.5  # side of that window for a side of the nucleus's box


def choose_by_score(scores: np.ndarray, count: int) -> dict[str, list[int]]:
    """Choose images for their score, none twice.

    Args:
        scores: (B,); NaN are never chosen.
        count: images in all, a third of them (rounded up) in each group.

    Returns:
        Indices by group: "best" and "worst" begin with the extreme, "median" goes downwards.
    """
    known = np.flatnonzero(~np.isnan(scores))
    order = known[np.argsort(-scores[known], kind="stable")]
    third = min(-(-count // 3), -(-order.size // 3))
    best, rest = order[:third], order[third:]
    rest, worst = np.split(rest, [max(rest.size - third, 0)])
    start = max(rest.size - third, 0) // 2
    return {
        "best": best.tolist(),
        "median": rest[start : start + third].tolist(),
        "worst": worst[::-1].tolist(),
    }


def choose_by_difference(first: np.ndarray, second: np.ndarray, count: int) -> dict[str, list[int]]:
    """Choose up to `count` images that gain most, and as many that lose most, each at all."""
    gains = np.nan_to_num(second - first)
    order = np.argsort(-gains, kind="stable")
    return {
        "gains": [index for index in order[:count].tolist() if gains[index] > 0],
        "losses": [index for index in order[::-1][:count].tolist() if gains[index] < 0],
    }


def choose_examples(places: Sequence[Place], count: int) -> list[Place]:
    """Choose nuclei evenly from first to last of each class, the classes taking turns."""
    by_class: dict[int, list[Place]] = {}
    for place in places:
        by_class.setdefault(place.category, []).append(place)
    evenly = []
    for category in sorted(by_class):
        of_class = by_class[category]
        indices = np.linspace(0, len(of_class) - 1, min(count, len(of_class)))
        evenly.append([of_class[index] for index in indices.round().astype(int)])
    turns = (place for turn in zip_longest(*evenly) for place in turn if place is not None)
    return list(turns)[:count]


def whole_images(
    dataset: Dataset,
    runs: Sequence[Run],
    indices: Sequence[int],
    score_name: str,
    scores: Sequence[np.ndarray],
) -> dict[int, Picture]:
    """Picture images with the ground truth and the predictions of every run.

    Args:
        dataset: of the runs.
        runs: whose predictions are drawn.
        indices: positions of the images.
        score_name: of the score in the captions.
        scores: of each run, (B,).

    Returns:
        The pictures by position.
    """
    side = longest_side(len(indices))
    pictures = {}
    for index in indices:
        image = dataset.images[index]
        layers = [layer("ground truth", _drawable(image["annotations"], runs))]
        layers += [layer(run.name, run.predictions[index]) for run in runs]
        values = " / ".join(f"{of_run[index]:.3f}" for of_run in scores)
        name, tissue = file_name(image), image.get("tissue", "unknown")
        pictures[index] = Picture(
            key=f"i{index}",
            title=name,
            caption=f"{name} · {tissue} · {score_name} {values}",
            image=image_uri(read_rgb(image["file_name"]), side),
            box=(0, 0, image["width"], image["height"]),
            layers=layers,
        )
    return pictures


def error_examples(
    dataset: Dataset, run: Run, kind: str, places: Sequence[Place], key: str
) -> list[Picture]:
    """Picture the surroundings of nuclei, ground truth and prediction.

    Args:
        dataset: of the run.
        run: whose errors they are.
        kind: one of ERRORS.
        places: the nuclei.
        key: prefix of the pictures' keys.
    """
    return [
        _example(dataset, run, kind, place, f"{key}-{number}")
        for number, place in enumerate(places)
    ]


def file_name(image: dict[str, Any]) -> str:
    """The name of a dataset dict's file, without its folder."""
    return str(image["file_name"]).replace("\\", "/").rpartition("/")[2]


def _example(dataset: Dataset, run: Run, kind: str, place: Place, key: str) -> Picture:
    image = dataset.images[place.image]
    sides = {
        "gt": _drawable(image["annotations"], [run]),
        "pred": run.predictions[place.image],
    }
    nucleus = sides[ERRORS[kind]][place.nucleus]
    box = _window(nucleus, image["height"], image["width"])
    left, top, right, bottom = box
    rgb = read_rgb(image["file_name"])[top:bottom, left:right]
    names = {"gt": "ground truth", "pred": run.name}
    class_name = dataset.shown_classes[place.category][0]
    layers: list[Layer] = [
        layer(names[side], [each for each in nuclei if _touches(each, box)])
        for side, nuclei in sides.items()
    ]
    return Picture(
        key=key,
        title=f"{kind} {class_name} in {file_name(image)}",
        caption=f"{class_name} · {file_name(image)}",
        image=image_uri(np.ascontiguousarray(rgb), max(rgb.shape)),
        box=box,
        layers=layers,
        focus=_around(nucleus),
    )


def _drawable(annotations: list[dict[str, Any]], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Ground truth as the predictions are drawn: as points where all runs have points alone."""
    if any(run.has_masks for run in runs):
        return annotations
    return [{key: each[key] for key in ("category_id", "point")} for each in annotations]


def _extent(nucleus: dict[str, Any]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a nucleus in px; of a point, those of a usual nucleus."""
    if "segmentation" in nucleus:
        return tuple(mask_utils.toBbox(nucleus["segmentation"]).tolist())
    x, y = (place + 0.5 - _POINT_RADIUS for place in nucleus["point"])
    return x, y, 2 * _POINT_RADIUS, 2 * _POINT_RADIUS


def _window(nucleus: dict[str, Any], height: int, width: int) -> Box:
    """A square around a nucleus, moved into the image, or less where the image is smaller."""
    x, y, w, h = _extent(nucleus)
    side = round(max(_LEAST_WINDOW, _WINDOW_PER_NUCLEUS * max(w, h)))
    left, right = _interval(x + w / 2, side, width)
    top, bottom = _interval(y + h / 2, side, height)
    return left, top, right, bottom


def _around(nucleus: dict[str, Any]) -> Box:
    x, y, w, h = map(round, _extent(nucleus))
    return x - _MARGIN, y - _MARGIN, x + w + _MARGIN, y + h + _MARGIN


def _interval(centre: float, length: int, end: int) -> tuple[int, int]:
    start = max(0, min(round(centre - length / 2), end - length))
    return start, min(start + length, end)


def _touches(nucleus: dict[str, Any], box: Box) -> bool:
    x, y, w, h = _extent(nucleus)
    left, top, right, bottom = box
    return x < right and left < x + w and y < bottom and top < y + h
