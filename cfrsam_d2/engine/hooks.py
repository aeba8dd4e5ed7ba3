"""Hooks around each training iteration, beyond Detectron2's own."""

import logging
import math
import random
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.engine import HookBase
from detectron2.utils import comm
from torch import Tensor, nn

from ..errors import UserError
from .checks import check_best_metric
from .ema import WeightAverage

logger = logging.getLogger(__name__)


class SeedForward(HookBase):
    """Seeds the forward pass of each iteration by its number.

    Dropout and drawn prompts then do not depend on what came before, so that a resumed run
    continues as if it had never stopped. It happens after the data are read, because starting
    their workers draws a number, too.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_train(self) -> None:
        self._handle = self.trainer.model.register_forward_pre_hook(self._seed_all)

    def after_train(self) -> None:
        self._handle.remove()

    def _seed_all(self, model: nn.Module, args: tuple) -> None:
        if not model.training:
            return
        entropy = (self._seed, self.trainer.iter, comm.get_rank())
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)


class StopAtBadLoss(HookBase):
    """Stops before a loss that is not finite reaches the weights; every process checks its own."""

    def before_train(self) -> None:
        self._handle = self.trainer.model.register_forward_hook(self._check)

    def after_train(self) -> None:
        self._handle.remove()

    def _check(self, model: nn.Module, args: tuple, losses: dict[str, Tensor]) -> None:
        if not model.training:
            return
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if bad:
            terms = ", ".join(f"{name} is {value}" for name, value in bad.items())
            images = ", ".join(str(each.get("file_name")) for each in args[0])
            raise UserError(
                f"{terms} at iteration {self.trainer.iter} (images: {images}): "
                "lower SOLVER.BASE_LR, or look at these images and their nuclei"
            )


class UpdateAverage(HookBase):
    """Averages the weights after each iteration."""

    def __init__(self, average: WeightAverage) -> None:
        self._average = average

    def before_train(self) -> None:
        self._average.start()

    def after_step(self) -> None:
        self._average.update()


class Validation(HookBase):
    """Evaluates every `period` iterations and after the last, and keeps the best weights.

    What is evaluated, and kept in `model_best.pth`, are the averaged weights where there are some.
    """

    FILE_NAME = "model_best"

    def __init__(
        self,
        *,
        period: int,
        evaluate: Callable[[], dict[str, float]],
        metric: str,
        checkpointer: DetectionCheckpointer,
        average: WeightAverage | None,
    ) -> None:
        """
        Args:
            period: iterations between evaluations; 0 evaluates only after the last.
            evaluate: gives the scores by name in the main process, {} in others.
            metric: the score of which the highest is the best.
            checkpointer: writes the weights alone.
            average: of the weights.
        """
        self._period = period
        self._evaluate = evaluate
        self._metric = metric
        self._checkpointer = checkpointer
        self._average = average
        self._best_score = -math.inf
        self.best_iteration: int | None = None

    def evaluations_since_best(self, done: int) -> int:
        """Number of evaluations, up to `done` iterations, since the one of the best score."""
        best = 0 if self.best_iteration is None else self.best_iteration + 1
        return done // self._period - best // self._period

    def after_step(self) -> None:
        done = self.trainer.iter + 1
        if done == self.trainer.max_iter or (self._period > 0 and done % self._period == 0):
            with self._average.applied() if self._average else nullcontext():
                self._validate()

    def _validate(self) -> None:
        scores = self._evaluate()
        self.trainer.storage.put_scalars(**scores, smoothing_hint=False)
        if comm.is_main_process():
            check_best_metric(self._metric, scores)
        score = comm.all_gather(scores.get(self._metric))[0]
        if score > self._best_score:  # never true of NaN
            self._best_score, self.best_iteration = score, self.trainer.iter
            self._checkpointer.save(self.FILE_NAME, iteration=self.trainer.iter)
        logger.info(
            "%s is %.4f at iteration %d; the best is %.4f at iteration %s",
            self._metric,
            score,
            self.trainer.iter,
            self._best_score,
            self.best_iteration,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"best_score": self._best_score, "best_iteration": self.best_iteration}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._best_score = state_dict["best_score"]
        self.best_iteration = state_dict["best_iteration"]


class TrainingEndsEarly(BaseException):
    """Leaves the loop of Detectron2's trainer, which logs every `Exception` as a failure."""


class EarlyStopping(HookBase):
    """Ends training, in all processes at once, when validation has not improved for long.

    It comes after all other hooks. How long it has been follows from the best iteration, which the
    checkpoints know.
    """

    def __init__(self, validation: Validation, patience: int) -> None:
        """
        Args:
            validation: has a period.
            patience: evaluations in a row that may pass without a better score.
        """
        self._validation = validation
        self._patience = patience

    def after_step(self) -> None:
        self.check(self.trainer.iter + 1)

    def check(self, done: int) -> None:
        """
        Raises:
            TrainingEndsEarly: `done` iterations are enough.
        """
        if self._validation.evaluations_since_best(done) >= self._patience:
            logger.info(
                "No better score in %d evaluations: training ends after %d iterations",
                self._patience,
                done,
            )
            raise TrainingEndsEarly
