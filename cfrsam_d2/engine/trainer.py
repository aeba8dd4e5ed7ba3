"""Training, with validation on the way and one look at the test set at the end."""

import logging
import os
import weakref
from functools import partial
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import (
    DefaultTrainer,
    HookBase,
    SimpleTrainer,
    TrainerBase,
    create_ddp_model,
    hooks,
)
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch import nn
from torch.utils.data import DataLoader

from ..checkpoint.checkpointer import NucleusCheckpointer, load_weights
from ..data.loader import PromptFinder, build_test_loader, build_train_loader
from ..evaluation import NucleusEvaluator
from ..modeling import training_prompts
from ..modeling.meta_arch import CFRSAM
from .ema import WeightAverage
from .failures import log_without_traceback
from .hooks import (
    EarlyStopping,
    SeedForward,
    StopAtBadLoss,
    TrainingEndsEarly,
    UpdateAverage,
    Validation,
)
from .learner_prompts import learner_prompts
from .optimizer import build_optimizer
from .resuming import kept_keys
from .run_folder import forget_lines, last_checkpoint, remove_leftovers
from .weights import load_initial_weights

logger = logging.getLogger(__name__)
logging.getLogger(TrainerBase.__module__).addFilter(log_without_traceback)


class NucleusTrainer(DefaultTrainer):
    """Detectron2's trainer for both stages.

    It adds: running averages of the weights, validation that keeps the best of them and can end
    training, checkpoints from which a run continues bit by bit (on a CPU), and a stop at the first
    bad loss.
    """

    def __init__(self, cfg: CfgNode) -> None:
        """
        Args:
            cfg: what `check_training` lets pass. This process has its OUTPUT_DIR alone.

        Raises:
            UserError: a part of the model, or the optimiser, cannot be built.
        """
        TrainerBase.__init__(self)  # DefaultTrainer's own would build with its checkpointer
        os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        device_ids: dict[str, Any] = {"device_ids": None} if cfg.MODEL.DEVICE == "cpu" else {}
        wrapped = create_ddp_model(
            model,
            broadcast_buffers=False,
            find_unused_parameters=True,  # SAM's decoder has heads that get no gradient
            **device_ids,
        )
        # Detectron2's AMPTrainer is for CUDA and float16: here the model sees to its precision.
        # Its loader comes with `train`: it may have to ask the model's weights for prompts.
        self._trainer = SimpleTrainer(wrapped, (), optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        decay = cfg.SOLVER.EMA_DECAY
        self.average = WeightAverage(model, decay) if decay > 0 else None
        self.checkpointer = NucleusCheckpointer(
            model,
            cfg.OUTPUT_DIR,
            save_frozen=cfg.MODEL.CFRSAM.SAVE_FROZEN,
            trainer=weakref.proxy(self),
            **({"ema": self.average} if self.average else {}),
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.cfg = cfg
        self.validation = self._build_validation(model) if cfg.DATASETS.VAL else None
        self.early_stopping = None
        if self.validation and (patience := cfg.TEST.EARLY_STOPPING_PATIENCE):
            self.early_stopping = EarlyStopping(self.validation, patience)
        # Older checkpoints serve no purpose, and those of SAM-H are large.
        self.periodic_checkpointer = hooks.PeriodicCheckpointer(
            self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, max_to_keep=1
        )
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue the run in OUTPUT_DIR, if `resume` and there is one, or start.

        A training starts from MODEL.WEIGHTS, or else from the initial weights of its stage.

        Raises:
            UserError: the weights are missing or do not fit.
        """
        checkpoint = last_checkpoint(self.cfg.OUTPUT_DIR) if resume else None
        if resume and not checkpoint:
            logger.warning("%s has no checkpoint: starting anew", self.cfg.OUTPUT_DIR)
        path = str(checkpoint or self.cfg.MODEL.WEIGHTS)
        load_initial_weights(self.checkpointer.model, self.cfg, path)
        if checkpoint:
            self.checkpointer.load(path)
            self.start_iter = self.iter + 1
        elif path:
            load_weights(self.checkpointer.model, path)

    def build_hooks(self) -> list[HookBase | None]:
        """In the order of a step's end: weights, validation, and only then the checkpoint.

        So a checkpoint knows of a validation at its iteration, which a resumed run does not repeat.
        """
        return [
            hooks.IterationTimer(),
            SeedForward(self.cfg.SEED),
            StopAtBadLoss(),
            hooks.LRScheduler(),
            UpdateAverage(self.average) if self.average else None,
            self.validation,
            self.periodic_checkpointer if comm.is_main_process() else None,
        ]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "config": kept_keys(self.cfg)}

    def _begin_writing(self) -> None:
        """Go on in a folder as an uninterrupted run leaves it, and open its logs."""
        folder = self.cfg.OUTPUT_DIR
        self.periodic_checkpointer.recent_checkpoints = remove_leftovers(
            folder, self.start_iter - 1
        )
        forget_lines(Path(folder) / "metrics.json", self.start_iter)
        self.register_hooks([hooks.PeriodicWriter(self.build_writers())])

    def train(self) -> dict:
        """Train, then score the test set once, with the best weights of validation.

        Returns:
            The scores of the test set; {} without one, or where this is not the main process.
        """
        if comm.is_main_process():
            self._begin_writing()
        self.register_hooks([self.early_stopping])  # the last one: hooks after it are left out
        try:
            if self.early_stopping:
                self.early_stopping.check(self.start_iter)  # the resumed run may have ended
            self._trainer.data_loader = self.build_train_loader(
                self.cfg, self.start_iter, self._prompt_finder()
            )
            super().train()
        except TrainingEndsEarly:
            self.checkpointer.save("model_final", iteration=self.iter)
        if not self.cfg.DATASETS.TEST:
            return {}
        has_best = self.validation is not None and self.validation.best_iteration is not None
        path = os.path.join(self.cfg.OUTPUT_DIR, f"model_{'best' if has_best else 'final'}.pth")
        comm.synchronize()  # until the main process has written it
        logger.info("Scoring %s on %s", path, ", ".join(self.cfg.DATASETS.TEST))
        load_weights(self.checkpointer.model, path)
        return self.test(self.cfg, self.model)

    def _prompt_finder(self) -> PromptFinder | None:
        """What finds the prompts of the training images, if this training needs any."""
        model = self.checkpointer.model
        if isinstance(model, CFRSAM) and model.train_prompts is training_prompts.learner_prompts:
            return partial(learner_prompts, model, self.cfg)
        return None

    def _build_validation(self, model: nn.Module) -> Validation:
        datasets, metric = self.cfg.DATASETS.VAL, self.cfg.TEST.BEST_METRIC
        return Validation(
            period=self.cfg.TEST.EVAL_PERIOD,
            evaluate=self._validate,
            # As `test` names the scores: of several datasets, the first one counts.
            metric=metric if len(datasets) == 1 else f"{datasets[0]}/{metric}",
            checkpointer=NucleusCheckpointer(
                model, self.cfg.OUTPUT_DIR, save_frozen=self.cfg.MODEL.CFRSAM.SAVE_FROZEN
            ),
            average=self.average,
        )

    def _validate(self) -> dict[str, float]:
        """The scores on the validation sets by name, in the main process."""
        if comm.get_world_size() > 1:
            for buffer in self.model.buffers():  # batch norm's differ: use those that are saved
                torch.distributed.broadcast(buffer, src=0)
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATASETS.TEST = cfg.DATASETS.VAL
        return flatten_results_dict(self.test(cfg, self.model))

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(
        cls, cfg: CfgNode, start_iteration: int = 0, find_prompts: PromptFinder | None = None
    ) -> DataLoader:
        return build_train_loader(cfg, start_iteration, find_prompts)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> DataLoader:
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> NucleusEvaluator:
        """The evaluator writes its tables to `OUTPUT_DIR/inference/<dataset>`."""
        folder = os.path.join(cfg.OUTPUT_DIR, "inference", dataset_name)
        return NucleusEvaluator(
            dataset_name, output_dir=folder, class_f1_radius=cfg.TEST.CLASS_F1_RADIUS
        )
