"""Time the evaluator against plain loops over nuclei, on the same images and in one run.

    python benchmarks/evaluator.py [--images 60] [--json]

Scored are PanNuke-format arrays: those of the published numbers (CFRSAM_FIXTURES, or
tests/fixtures) repeated, or generated ones where that folder is missing. All of bPQ, class PQ,
AJI, AJI+ and centroid pairs are computed by three routes, which must agree to 1e-6: the loops kept
in this file, `score_pannuke_arrays`, and `NucleusEvaluator` from encoded ground truth and masks.
"""

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import numpy as np
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances
from scipy.optimize import linear_sum_assignment

from cfrsam_d2.evaluation import ImageScores, NucleusEvaluator, score_pannuke_arrays
from cfrsam_d2.structures.masks import BoxMask, BoxMasks
from cfrsam_d2.structures.rle import encode_mask

FIXTURES = Path(__file__).resolve().parents[1] / "tests" / "fixtures"
Scores = list[float]  # bPQ, K class PQ, AJI, AJI+, then the confusion matrix of centroids
Masks = list[np.ndarray]  # one (H, W) bool per nucleus


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=60, help="how many images to score")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    args = parser.parse_args()

    source, true_masks, pred_masks = load_arrays()
    chosen = np.resize(np.arange(len(true_masks)), args.images)
    true_masks, pred_masks = true_masks[chosen], pred_masks[chosen]
    process = evaluator_route(true_masks, pred_masks)
    types = ["unknown"] * args.images
    results = {
        "loops": timed(
            lambda: [loop_scores(*pair) for pair in zip(true_masks, pred_masks, strict=True)]
        ),
        "functions": timed(
            lambda: [numbers(s) for s in score_pannuke_arrays(true_masks, pred_masks, types)]
        ),
        "evaluator": timed(process),
    }
    reference = np.array(results["loops"][1])
    for name, (_, scores) in results.items():
        np.testing.assert_allclose(scores, reference, rtol=0, atol=1e-6, err_msg=name)
    seconds = {name: total for name, (total, _) in results.items()}
    report(source, args.images, seconds, args.json)


def report(source: str, num_images: int, seconds: dict[str, float], as_json: bool) -> None:
    """Print seconds per image of every route, and how many times faster than the loops each is."""
    per_image = {name: total / num_images for name, total in seconds.items()}
    ratios = {name: per_image["loops"] / per_image[name] for name in ("functions", "evaluator")}
    if as_json:
        print(json.dumps({"images": source, "seconds_per_image": per_image, "ratio": ratios}))
        return
    print(f"{num_images} images ({source}); all routes agree to 1e-6")
    for name, value in per_image.items():
        ratio = f"  {ratios[name]:6.1f} x faster than the loops" if name in ratios else ""
        print(f"{name:10} {1e3 * value:8.2f} ms per image{ratio}")


def timed(route: Callable[[], list[Scores]]) -> tuple[float, list[Scores]]:
    start = time.perf_counter()
    scores = route()
    return time.perf_counter() - start, scores


# Images


def load_arrays() -> tuple[str, np.ndarray, np.ndarray]:
    """Return where the images come from, and true and predicted masks (B, H, W, K+1)."""
    path = Path(os.environ.get("CFRSAM_FIXTURES", FIXTURES)) / "pannuke_metrics.npz"
    if not path.is_file():
        return "generated", *generated_arrays()
    with np.load(path) as arrays:
        return path.name, arrays["true_masks"], arrays["pred_masks"]


def generated_arrays(
    num_images: int = 20, size: int = 256, num_classes: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Draw discs on a jittered grid, and predictions that are shifted, swapped, missed or added."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    arrays = np.zeros((2, num_images, size, size, num_classes + 1), dtype=np.int16)
    for gt, pred in zip(*arrays, strict=True):
        for index, (row, column) in enumerate(np.ndindex(6, 6), start=1):
            center = np.array([row, column]) * 42 + 22 + rng.uniform(-5, 5, 2)
            shifted = center + rng.uniform(-4, 4, 2)
            radius, class_id = rng.uniform(5, 11), rng.integers(num_classes)
            other = rng.integers(num_classes) if rng.random() < 0.2 else class_id
            if rng.random() < 0.9:
                gt[np.hypot(y - center[0], x - center[1]) < radius, class_id] = index
            if rng.random() < 0.9:
                pred[np.hypot(y - shifted[0], x - shifted[1]) < radius, other] = index
    return arrays[0], arrays[1]


# The project's own routes


def numbers(image: ImageScores) -> Scores:
    scores = image.segmentation
    assert scores is not None
    values = [scores.bpq, *scores.class_pqs, scores.aji, scores.aji_plus]
    return [*values, *image.confusion.ravel().tolist()]


def evaluator_route(true_masks: np.ndarray, pred_masks: np.ndarray) -> Callable[[], list[Scores]]:
    """Register the images as a dataset and return what scores their masks by the evaluator."""
    num_images, height, width, num_channels = true_masks.shape
    dataset = [
        {
            "image_id": index,
            "file_name": f"{index}.png",
            "height": height,
            "width": width,
            "annotations": [
                {
                    "segmentation": encode_mask(BoxMask.of_frame(nucleus), height, width),
                    "category_id": class_id,
                }
                for class_id, nucleus in all_nuclei(masks)
            ],
        }
        for index, masks in enumerate(true_masks)
    ]
    DatasetCatalog.register("benchmark", lambda: dataset)
    MetadataCatalog.get("benchmark").thing_classes = [str(c) for c in range(num_channels - 1)]
    outputs = [instances(masks) for masks in pred_masks]
    evaluator = NucleusEvaluator("benchmark")

    def process() -> list[Scores]:
        for index in range(num_images):
            evaluator.process([{"image_id": index}], [{"instances": outputs[index]}])
        return [numbers(evaluator.scores[index]) for index in range(num_images)]

    return process


def instances(masks: np.ndarray) -> Instances:
    """Turn (H, W, K+1) predicted masks into what a model returns."""
    found, size = all_nuclei(masks), masks.shape[:2]
    output = Instances(size)
    output.pred_masks = BoxMasks.from_box_masks([BoxMask.of_frame(m) for _, m in found], size)
    output.pred_classes = torch.tensor([c for c, _ in found], dtype=torch.int64)
    output.scores = torch.arange(len(found)) / max(len(found), 1)
    return output


# The plain loops: each score by itself from two label maps, nucleus by nucleus


def loop_scores(true_masks: np.ndarray, pred_masks: np.ndarray) -> Scores:
    gt_map, pred_map = loop_paint(true_masks), loop_paint(pred_masks)
    values = [loop_pq(gt_map, pred_map)]
    for channel in range(true_masks.shape[-1] - 1):
        values.append(loop_pq(true_masks[..., channel], pred_masks[..., channel]))
    values += [loop_aji(gt_map, pred_map), loop_aji_plus(gt_map, pred_map)]
    return values + loop_confusion(true_masks, pred_masks)


def loop_paint(masks: np.ndarray) -> np.ndarray:
    label_map = np.zeros(masks.shape[:2], dtype=np.int32)
    for index, (_, mask) in enumerate(all_nuclei(masks), start=1):
        label_map[mask] = index
    return label_map


def all_nuclei(masks: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """List (class, (H, W) mask) of an image, channel by channel."""
    channels = range(masks.shape[-1] - 1)
    return [(channel, mask) for channel in channels for mask in split(masks[..., channel])]


def split(label_map: np.ndarray) -> Masks:
    return [label_map == index for index in np.unique(label_map) if index != 0]


def loop_overlaps(gt_map: np.ndarray, pred_map: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, M) px that two nuclei share, and px of their union (1 where they do not touch)."""
    gt, pred = split(gt_map), split(pred_map)
    column_of_id = {i: column for column, i in enumerate(i for i in np.unique(pred_map) if i != 0)}
    shared, joined = np.zeros((len(gt), len(pred))), np.ones((len(gt), len(pred)))
    for row, mask in enumerate(gt):
        for index in np.unique(pred_map[mask]):
            if index != 0:
                other = pred[column_of_id[index]]
                shared[row, column_of_id[index]] = (mask & other).sum()
                joined[row, column_of_id[index]] = (mask | other).sum()
    return shared, joined


def loop_pq(gt_map: np.ndarray, pred_map: np.ndarray) -> float:
    if not gt_map.any():
        return math.nan
    shared, joined = loop_overlaps(gt_map, pred_map)
    ious = [iou for iou in (shared / joined).ravel() if iou > 0.5]
    tp, (num_gt, num_pred) = len(ious), shared.shape
    return tp / (tp + (num_pred - tp) / 2 + (num_gt - tp) / 2) * sum(ious) / (tp + 1e-6)


def loop_aji(gt_map: np.ndarray, pred_map: np.ndarray) -> float:
    if not gt_map.any() or not pred_map.any():
        return 0.0 if gt_map.any() else math.nan
    shared, joined = loop_overlaps(gt_map, pred_map)
    best = (shared / (joined + 1e-6)).argmax(axis=1)
    return loop_aggregate(gt_map, pred_map, shared, joined, list(enumerate(best)))


def loop_aji_plus(gt_map: np.ndarray, pred_map: np.ndarray) -> float:
    if not gt_map.any() or not pred_map.any():
        return 0.0 if gt_map.any() else math.nan
    shared, joined = loop_overlaps(gt_map, pred_map)
    return loop_aggregate(gt_map, pred_map, shared, joined, assign(-shared / (joined + 1e-6)))


def loop_aggregate(
    gt_map: np.ndarray,
    pred_map: np.ndarray,
    shared: np.ndarray,
    joined: np.ndarray,
    pairs: list[tuple[int, int]],
) -> float:
    pairs = [pair for pair in pairs if shared[pair] > 0]
    rows, columns = {row for row, _ in pairs}, {column for _, column in pairs}
    union = sum(joined[pair] for pair in pairs)
    union += sum(mask.sum() for row, mask in enumerate(split(gt_map)) if row not in rows)
    union += sum(m.sum() for column, m in enumerate(split(pred_map)) if column not in columns)
    return sum(shared[pair] for pair in pairs) / union


def loop_confusion(true_masks: np.ndarray, pred_masks: np.ndarray) -> list[float]:
    """Pair centroids within 12 px and count (ground-truth class, predicted class)."""
    gt, pred = all_nuclei(true_masks), all_nuclei(pred_masks)
    gt_centers = [np.argwhere(mask).mean(axis=0) for _, mask in gt]
    pred_centers = [np.argwhere(mask).mean(axis=0) for _, mask in pred]
    distances = np.array([[math.dist(a, b) for b in pred_centers] for a in gt_centers])
    distances = distances.reshape(len(gt), len(pred))
    pairs = [pair for pair in assign(distances) if distances[pair] <= 12]
    unpaired = true_masks.shape[-1] - 1
    counts = np.zeros((unpaired + 1, unpaired + 1))
    for row, column in pairs:
        counts[gt[row][0], pred[column][0]] += 1
    for row in set(range(len(gt))) - {row for row, _ in pairs}:
        counts[gt[row][0], unpaired] += 1
    for column in set(range(len(pred))) - {column for _, column in pairs}:
        counts[unpaired, pred[column][0]] += 1
    return counts.ravel().tolist()


def assign(costs: np.ndarray) -> list[tuple[int, int]]:
    return list(zip(*linear_sum_assignment(costs), strict=True))


if __name__ == "__main__":
    main()
