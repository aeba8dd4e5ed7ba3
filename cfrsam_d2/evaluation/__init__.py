"""Scores of nuclei, in the order data meets them.

`nucleus_maps` (label maps, centroids, classes of an image) → `overlap` → `panoptic_quality`,
`jaccard`; `detection` (centroids); `image_scores` (the record of an image) → `tables` (means) →
`writers`. All of these know NumPy arrays alone; `evaluator` stands between them and Detectron2, and
`predictions` keeps the predicted nuclei themselves.
"""

from .evaluator import NucleusEvaluator
from .image_scores import ImageScores
from .pannuke import score_pannuke_arrays
from .tables import summarize

__all__ = ["ImageScores", "NucleusEvaluator", "score_pannuke_arrays", "summarize"]
