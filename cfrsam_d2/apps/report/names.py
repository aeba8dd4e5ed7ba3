"""What the page calls scores and losses: one name each, wherever they stand."""

SCORES = {
    "bPQ_std": "bPQ, deviation over tissues",
    "mPQ_std": "mPQ, deviation over tissues",
    "AJI_plus": "AJI+",
    "bPQ_image": "bPQ, mean over images",
    "mPQ_image": "mPQ, mean over images",
    "mPQ_one_map": "mPQ in one map",
    "mPQ_plus": "mPQ+",
    "F1": "F1 of detection",
    "mean_class_F1": "mean F1 of classes, each paired by itself",
    "false_positive": "false positive",
    "wrong_class": "wrong class",
    "poor_outline": "poor outline",
}
_LOSSES = {"total_loss": "loss, all terms", "lr": "learning rate"}
_PARTS = {
    "cls": "classes",
    "reg": "positions",
    "iou": "estimated IoU",
    "mask": "auxiliary mask",
    "initial": "initial masks",
    "refined": "refined masks",
    "point": "points",
}


def score_name(key: str) -> str:
    """Of a key of metrics.json's groups, or a column of images.csv."""
    return SCORES.get(key, f"PQ of {key[3:]}" if key.startswith("PQ_") else key)


def curve_name(key: str) -> str:
    """Of a key of a training's metrics.json: `loss_refined_dice`, `segmentation/bPQ`, say."""
    if key in _LOSSES:
        return _LOSSES[key]
    if key.startswith("loss_"):
        parts = key.removeprefix("loss_").split("_")
        return f"loss, {', '.join(_PARTS.get(part, part) for part in parts)}"
    return f"validation: {score_name(key.rpartition('/')[2])}" if "/" in key else key
