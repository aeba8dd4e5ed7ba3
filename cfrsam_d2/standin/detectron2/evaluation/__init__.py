"""Evaluators, and running a model over a dataset."""

import datetime
import logging
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.data import DataLoader

from .testing import print_csv_format  # noqa: F401


class DatasetEvaluator:
    """Sees each batch with the model's outputs, and scores them all in the end."""

    def reset(self) -> None:
        pass

    def process(self, inputs: list, outputs: list) -> None:
        pass

    def evaluate(self) -> dict | None:
        """`{task: {metric: score}}` on the main process."""


def inference_on_dataset(
    model: nn.Module,
    data_loader: DataLoader,
    evaluator: DatasetEvaluator,
    callbacks: dict[str, Callable[[], None]] | None = None,
) -> dict:
    """Run `model` in eval mode over all batches; the evaluator's results ({} for None)."""
    assert callbacks is None, "callbacks are not in the stand-in"
    logger, total = logging.getLogger(__name__), len(data_loader)
    logger.info(f"Start inference on {total} batches")
    was_training = model.training
    model.eval()
    evaluator.reset()
    start = logged = time.perf_counter()
    with torch.no_grad():
        for done, inputs in enumerate(data_loader, start=1):
            evaluator.process(inputs, model(inputs))
            now = time.perf_counter()
            if now - logged > 5:
                left = datetime.timedelta(seconds=int((now - start) / done * (total - done)))
                logger.info(f"Inference done {done}/{total}. ETA={left}")
                logged = now
    model.train(was_training)
    seconds = time.perf_counter() - start
    logger.info(f"Total inference time: {seconds:.1f} s ({seconds / total:.4f} s / batch)")
    return evaluator.evaluate() or {}
