"""Training: the command line, set-up, starting processes, and the trainer of a config."""

import argparse
import logging
import os
import weakref
from collections.abc import Callable
from datetime import timedelta
from operator import attrgetter
from typing import Any

import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode
from detectron2.evaluation import DatasetEvaluator, inference_on_dataset, print_csv_format
from detectron2.modeling import build_model
from detectron2.solver import build_lr_scheduler
from detectron2.utils import comm, events
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.logger import setup_logger
from torch import nn
from torch.multiprocessing.spawn import start_processes
from torch.utils.data import DataLoader

from . import hooks
from .train_loop import HookBase, SimpleTrainer, TrainerBase


def launch(
    main_func: Callable,
    num_gpus_per_machine: int,
    num_machines: int = 1,
    machine_rank: int = 0,
    dist_url: str | None = None,
    args: tuple = (),
    timeout: timedelta = timedelta(minutes=30),
) -> None:
    """Call `main_func(*args)` here, or in processes of each machine, which meet at `dist_url`."""
    world_size = num_machines * num_gpus_per_machine
    if world_size == 1:
        main_func(*args)
        return
    group = {"init_method": dist_url, "world_size": world_size, "timeout": timeout}
    arguments = (main_func, args, num_gpus_per_machine, machine_rank, group)
    start_processes(_work, nprocs=num_gpus_per_machine, args=arguments)


def _work(local_rank: int, main: Callable, args: tuple, count: int, machine: int, group: dict):
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    torch.distributed.init_process_group(backend, rank=machine * count + local_rank, **group)
    comm.create_local_process_group(count)
    comm.synchronize()
    main(*args)


def create_ddp_model(model: nn.Module, *, fp16_compression: bool = False, **kwargs: Any):
    """The model, wrapped for training in several processes if there are several."""
    assert not fp16_compression, "fp16_compression is not in the stand-in"
    if comm.get_world_size() == 1:
        return model
    kwargs = {"device_ids": [comm.get_local_rank()], **kwargs}
    return nn.parallel.DistributedDataParallel(model, **kwargs)


def default_setup(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Start the log, write the config to the output folder, and set the seeds."""
    rank, world_size = comm.get_rank(), comm.get_world_size()
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank, name="fvcore")
    logger = setup_logger(cfg.OUTPUT_DIR, distributed_rank=rank)
    logger.info(f"Rank {rank} of {world_size}. Environment info:\n{collect_env_info()}")
    logger.info(f"Command line arguments: {args}")
    logger.info(f"Running with full config:\n{cfg.dump()}")
    if comm.is_main_process():
        with open(os.path.join(cfg.OUTPUT_DIR, "config.yaml"), "w") as file:
            file.write(cfg.dump())
    seed_all_rng(None if cfg.SEED < 0 else cfg.SEED + rank)
    if not getattr(args, "eval_only", False):
        torch.backends.cudnn.benchmark = cfg.CUDNN_BENCHMARK


class DefaultTrainer(TrainerBase):
    """Model, loader, schedule, hooks and so on by config; a subclass has the first four methods."""

    build_optimizer: Callable[..., torch.optim.Optimizer]  # (cfg, model)
    build_train_loader: Callable[..., DataLoader]  # (cfg)
    build_test_loader: Callable[..., DataLoader]  # (cfg, dataset_name)
    build_evaluator: Callable[..., DatasetEvaluator]  # (cfg, dataset_name)
    model = property(attrgetter("_trainer.model"))
    data_loader = property(attrgetter("_trainer.data_loader"))
    optimizer = property(attrgetter("_trainer.optimizer"))
    build_model = staticmethod(build_model)
    build_lr_scheduler = staticmethod(build_lr_scheduler)

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__()
        self.cfg = cfg
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        data_loader = self.build_train_loader(cfg)
        model = create_ddp_model(model, broadcast_buffers=False)
        self._trainer = SimpleTrainer(model, data_loader, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        proxy = weakref.proxy(self)
        self.checkpointer = DetectionCheckpointer(model, cfg.OUTPUT_DIR, trainer=proxy)
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks(self.build_hooks())

    def resume_or_load(self, resume: bool = True) -> None:
        """Go on from the output folder's last checkpoint, or load MODEL.WEIGHTS."""
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=resume)
        if resume and self.checkpointer.has_checkpoint():
            self.start_iter = self.iter + 1  # the checkpoint's iteration is done

    def build_hooks(self) -> list[HookBase]:
        """Time, learning rate, checkpoints, writers."""
        built = [hooks.IterationTimer(), hooks.LRScheduler()]
        if comm.is_main_process():
            period = self.cfg.SOLVER.CHECKPOINT_PERIOD
            built.append(hooks.PeriodicCheckpointer(self.checkpointer, period))
            built.append(hooks.PeriodicWriter(self.build_writers()))
        return built

    def build_writers(self) -> list[events.EventWriter]:
        """Terminal, `metrics.json`, TensorBoard."""
        folder = self.cfg.OUTPUT_DIR
        os.makedirs(folder, exist_ok=True)
        json_writer = events.JSONWriter(os.path.join(folder, "metrics.json"))
        printer = events.CommonMetricPrinter(self.max_iter)
        return [printer, json_writer, events.TensorboardXWriter(folder)]

    def train(self) -> None:
        super().train(self.start_iter, self.max_iter)

    def run_step(self) -> None:
        self._trainer.iter = self.iter
        self._trainer.run_step()

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "_trainer": self._trainer.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._trainer.load_state_dict(state_dict["_trainer"])

    @classmethod
    def test(
        cls, cfg: CfgNode, model: nn.Module, evaluators: list[DatasetEvaluator] | None = None
    ) -> dict:
        """Results of each of DATASETS.TEST by name, or those of the only one."""
        names = cfg.DATASETS.TEST
        evaluators = evaluators or [cls.build_evaluator(cfg, name) for name in names]
        results = {}
        for name, evaluator in zip(names, evaluators, strict=True):
            loader = cls.build_test_loader(cfg, name)
            results[name] = inference_on_dataset(model, loader, evaluator)
            if comm.is_main_process():
                logging.getLogger(__name__).info(f"Evaluation results for {name} in csv format:")
                print_csv_format(results[name])
        return next(iter(results.values())) if len(results) == 1 else results
