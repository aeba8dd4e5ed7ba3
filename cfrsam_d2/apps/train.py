"""What `train_net.py` does: train or evaluate, in one process per GPU."""

import argparse
import sys
from contextlib import nullcontext

import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing.spawn import ProcessExitedException

from ..engine import NucleusTrainer, build_trained_model, load_config
from ..engine.checks import check_training
from ..engine.failures import full_disk_named
from ..engine.resuming import check_same_config
from ..engine.run_folder import check_unused, last_checkpoint, locked_folder
from ..engine.weights import check_initial_weights
from ..errors import UserError, exits_on_user_error
from ..process_groups import ends_process_groups


def read_config(args: argparse.Namespace) -> CfgNode:
    """Read the config and find out, before anything is written, what would stop the run."""
    cfg = load_config(args.config_file, args.opts)
    if args.eval_only:
        return cfg
    check_training(cfg)
    check_initial_weights(cfg, resume=args.resume)
    if not args.resume:
        check_unused(cfg.OUTPUT_DIR)
    elif checkpoint := last_checkpoint(cfg.OUTPUT_DIR):
        check_same_config(cfg, checkpoint)
    return cfg


@ends_process_groups
@exits_on_user_error
def train_or_evaluate(args: argparse.Namespace) -> None:
    """In this process."""
    cfg = read_config(args)
    folder = locked_folder(cfg.OUTPUT_DIR) if comm.is_main_process() else nullcontext()
    with folder, full_disk_named(cfg.OUTPUT_DIR):
        comm.synchronize()  # nobody writes before the main process has the folder
        run_in_folder(cfg, args)


def run_in_folder(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Keep a log and a copy of the config in OUTPUT_DIR, and train or evaluate."""
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="cfrsam_d2")
    cfg.freeze()
    if args.eval_only:
        NucleusTrainer.test(cfg, build_trained_model(cfg))
    else:
        trainer = NucleusTrainer(cfg)
        trainer.resume_or_load(resume=args.resume)
        trainer.train()


def run(args: argparse.Namespace) -> None:
    """Call `train_or_evaluate` once per GPU.

    Args:
        args: of `train_net.py`.

    Raises:
        UserError: there are fewer GPUs.
    """
    num_gpus = torch.cuda.device_count()
    if num_gpus and args.num_gpus > num_gpus:
        raise UserError(f"--num-gpus is {args.num_gpus}, but there are {num_gpus}")
    try:
        launch(
            train_or_evaluate,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:  # one of several, which has said why
        sys.exit(error.exit_code)
