"""Evaluators, and the loop that feeds them."""

import datetime
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from contextlib import contextmanager, nullcontext

import torch
from torch import nn

from detectron2.utils.comm import is_main_process
from detectron2.utils.logger import log_every_n_seconds


class DatasetEvaluator:
    """Sees each batch with the model's outputs, and scores them all in the end."""

    def reset(self) -> None:
        """Start a new round."""

    def process(self, inputs: list, outputs: list) -> None:
        """Take in one batch."""

    def evaluate(self) -> dict | None:
        """`{task: {metric: score}}` on the main process."""


class DatasetEvaluators(DatasetEvaluator):
    """Several evaluators as one; no two may have a task in common."""

    def __init__(self, evaluators: list[DatasetEvaluator]) -> None:
        self._evaluators = evaluators

    def reset(self) -> None:
        for evaluator in self._evaluators:
            evaluator.reset()

    def process(self, inputs: list, outputs: list) -> None:
        for evaluator in self._evaluators:
            evaluator.process(inputs, outputs)

    def evaluate(self) -> dict:
        results = OrderedDict()
        for evaluator in self._evaluators:
            result = evaluator.evaluate()
            if is_main_process() and result is not None:
                for task, scores in result.items():
                    assert task not in results, f"Different evaluators produce the same key {task}"
                    results[task] = scores
        return results


def inference_on_dataset(
    model: nn.Module | Callable,
    data_loader: Iterable,
    evaluator: DatasetEvaluator | list[DatasetEvaluator] | None,
    callbacks: dict[str, Callable[[], None]] | None = None,
) -> dict:
    """Run `model` in eval mode over all batches; the evaluator's results ({} for None).

    `callbacks` may have "on_start", "before_inference", "after_inference" and "on_end".
    """
    if evaluator is None or isinstance(evaluator, MutableSequence):
        evaluator = DatasetEvaluators(evaluator or [])
    evaluator.reset()
    total = len(data_loader)
    logger = logging.getLogger(__name__)
    logger.info(f"Start inference on {total} batches")

    def call(name: str) -> None:
        (callbacks or {}).get(name, lambda: None)()

    seconds = {"inference": 0.0, "evaluation": 0.0}
    start = time.perf_counter()
    in_eval_mode = inference_context(model) if isinstance(model, nn.Module) else nullcontext()
    with in_eval_mode, torch.no_grad():
        call("on_start")
        for done, inputs in enumerate(data_loader, start=1):
            batch_start = time.perf_counter()
            call("before_inference")
            outputs = model(inputs)
            call("after_inference")
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            batch_end = time.perf_counter()
            evaluator.process(inputs, outputs)
            now = time.perf_counter()
            seconds["inference"] += batch_end - batch_start
            seconds["evaluation"] += now - batch_end
            left = datetime.timedelta(seconds=int((now - start) / done * (total - done)))
            progress = f"Inference done {done}/{total}. ETA={left}"
            log_every_n_seconds(logging.INFO, progress, n=5)
        call("on_end")
    times = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
    logger.info(f"Total inference time: {time.perf_counter() - start:.1f} s ({times})")
    return evaluator.evaluate() or {}


@contextmanager
def inference_context(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, the former mode afterwards."""
    was_training = model.training
    model.eval()
    yield
    model.train(was_training)
