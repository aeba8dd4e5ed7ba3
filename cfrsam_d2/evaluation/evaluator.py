"""The evaluator that Detectron2 calls: it turns model outputs into label maps and keeps scores."""

import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.structures import Instances
from detectron2.utils import comm

from ..errors import UserError
from ..structures.rle import decode_mask
from .detection import CLASS_F1_RADIUS_AT_40X, radius_at
from .image_scores import (
    ImageScores,
    score_classes,
    score_detection,
    score_segmentation,
)
from .nucleus_maps import NucleusMaps, NucleusPoints, ground_truth_maps, predicted_maps
from .predictions import PREDICTIONS_NAME, prediction_records, write_predictions
from .tables import summarize
from .writers import dataset_tables, format_tables, write_scores

logger = logging.getLogger(__name__)


class NucleusEvaluator(DatasetEvaluator):
    """Score nuclei against a registered dataset: PQ, AJI, detection and classification.

    Every image is reduced to a few numbers, and its predictions to run lengths, as soon as it is
    processed. Centroids for detection are those of masks on both sides; where only points are
    predicted, the points take their place and the segmentation metrics are left out.

    Attributes:
        scores: the records of the images that this rank has processed, by `image_id`.
        predictions: likewise their `prediction_records`, if there is a folder for them.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        distributed: bool = True,
        class_f1_radius: float = CLASS_F1_RADIUS_AT_40X,
    ) -> None:
        """
        Args:
            dataset_name: registered name; its dicts hold the ground truth, its metadata
                `thing_classes` and, for the order of the tables, `tissues`.
            output_dir: folder for metrics.json, the CSV tables and predictions.json; None writes
                nothing.
            distributed: collect the scores of all ranks on the first; False: this rank's alone.
            class_f1_radius: px at 40×, within which centroids pair for `mean_class_F1`.

        Raises:
            UserError: the dataset has no images, or two with the same `image_id`.
        """
        self._dataset_name = dataset_name
        self._output_dir = None if output_dir is None else Path(output_dir)
        self._distributed = distributed
        self._class_f1_radius = class_f1_radius
        images = DatasetCatalog.get(dataset_name)
        if not images:
            raise UserError(f"{dataset_name} has no images: choose a dataset that has some")
        self._images = {image["image_id"]: image for image in images}
        if len(self._images) < len(images):
            raise UserError(
                f"{dataset_name} has several images of one image_id: give every image its own"
            )
        # Loading a dataset may be what fills its metadata.
        metadata = MetadataCatalog.get(dataset_name)
        self._class_names: Sequence[str] = metadata.thing_classes
        self._tissues: Sequence[str] = metadata.get("tissues", ())
        self.reset()

    def reset(self) -> None:
        """Forget all scores and predictions."""
        self.scores: dict[int | str, ImageScores] = {}
        self.predictions: dict[int | str, list[str]] = {}

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Instances]]) -> None:
        """Score a batch.

        Args:
            inputs: the mapper's dicts, of which `image_id` is used.
            outputs: one `{"instances": Instances}` per input, in the image's own size, with
                `pred_classes` (N,), `scores` (N,), and `pred_masks` (`BoxMasks`) or, without
                masks, `pred_points` (N, 2).

        Raises:
            UserError: an image or a class that the dataset does not have, masks of another size.
        """
        for image, output in zip(inputs, outputs, strict=True):
            image_id = image["image_id"]
            if image_id not in self._images:
                raise UserError(
                    f"image_id {image_id!r} is not in {self._dataset_name}: "
                    "evaluate on the dataset that the images come from"
                )
            image = self._images[image_id]
            instances = output["instances"].to("cpu")
            self.scores[image_id] = self._score(image, instances)
            if self._output_dir is not None:
                self.predictions[image_id] = prediction_records(instances)

    def evaluate(self) -> OrderedDict[str, dict[str, float]]:
        """Average over the dataset, print the tables and write them.

        Returns:
            The groups of `summarize` on the first rank, nothing on others.

        Raises:
            UserError: images of the dataset were not processed.
        """
        scores, predictions = self.scores, self.predictions
        if self._distributed:
            comm.synchronize()
            scores, predictions = {}, {}
            for of_rank in comm.gather((self.scores, self.predictions), dst=0):
                scores |= of_rank[0]
                predictions |= of_rank[1]
            if not comm.is_main_process():
                return OrderedDict()
        self._check_all_processed(scores)
        images = [scores[image_id] for image_id in self._images]
        metrics = summarize(images, self._class_names, self._tissues)
        tables = dataset_tables(images, self._class_names, self._tissues)
        logger.info("%s:\n\n%s", self._dataset_name, format_tables(metrics, tables))
        if self._output_dir is not None:
            write_scores(self._output_dir, metrics, tables, images, self._class_names)
            path = self._output_dir / PREDICTIONS_NAME
            write_predictions(path, self._images.values(), predictions, self._class_names)
            logger.info("Tables and %s are in %s", PREDICTIONS_NAME, self._output_dir)
        return metrics

    def metric_names(self, *, has_masks: bool) -> list[str]:
        """The metrics that `evaluate` gives, as "group/name", before anything is predicted.

        Args:
            has_masks: False: the model predicts points alone.
        """
        nothing = ground_truth_maps([], [], (1, 1), len(self._class_names))
        points = NucleusPoints(nothing.points, nothing.classes, nothing.scores)
        of_tissues = {image.get("tissue"): image for image in self._images.values()}
        records = [
            self._record(image, nothing, nothing if has_masks else points)
            for image in of_tissues.values()
        ]
        groups = summarize(records, self._class_names, self._tissues)
        return [f"{group}/{name}" for group, values in groups.items() for name in values]

    def _check_all_processed(self, scores: dict[int | str, ImageScores]) -> None:
        missing = [image for image_id, image in self._images.items() if image_id not in scores]
        if missing:
            raise UserError(
                f"{len(missing)} of {len(self._images)} images of {self._dataset_name} were not "
                f"processed, the first is {missing[0]['file_name']} (image_id "
                f"{missing[0]['image_id']!r}): run the model on the whole dataset"
            )

    def _score(self, image: dict[str, Any], instances: Instances) -> ImageScores:
        return self._record(image, self._ground_truth(image), self._prediction(image, instances))

    def _record(self, image: dict[str, Any], gt: NucleusMaps, pred: NucleusPoints) -> ImageScores:
        num_classes = len(self._class_names)
        magnification = image.get("magnification", 40)
        class_f1_radius = radius_at(magnification, self._class_f1_radius)
        pairs = score_detection(gt, pred, num_classes, magnification)
        return ImageScores(
            image_id=image["image_id"],
            file_name=image["file_name"],
            tissue=image.get("tissue", "unknown"),
            confusion=pairs.confusion,
            segmentation=score_segmentation(gt, pred) if isinstance(pred, NucleusMaps) else None,
            class_counts=score_classes(gt, pred, num_classes, class_f1_radius),
            unknown=pairs.unknown,
        )

    def _ground_truth(self, image: dict[str, Any]) -> NucleusMaps:
        annotations = image["annotations"]
        return ground_truth_maps(
            [decode_mask(each["segmentation"]).indices(image["width"]) for each in annotations],
            [each["category_id"] for each in annotations],
            (image["height"], image["width"]),
            len(self._class_names),
        )

    def _prediction(self, image: dict[str, Any], instances: Instances) -> NucleusPoints:
        num_classes = len(self._class_names)
        classes = instances.pred_classes.numpy()
        if classes.size and classes.max() >= num_classes:
            raise UserError(
                f"the model predicts class {classes.max()}, {self._dataset_name} has "
                f"{num_classes} classes: set MODEL.PROMPT_LEARNER.NUM_CLASSES to {num_classes} and "
                "use weights trained with it"
            )
        scores = instances.scores.float().numpy()
        if not instances.has("pred_masks"):
            return NucleusPoints(instances.pred_points.float().numpy(), classes, scores)
        masks, size = instances.pred_masks, (image["height"], image["width"])
        if masks.image_size != size:
            raise UserError(
                f"masks of {masks.image_size} px for {image['file_name']} of {size} px: "
                "predict in the size of the image"
            )
        return predicted_maps(masks.indices(), classes, scores, size, num_classes)
