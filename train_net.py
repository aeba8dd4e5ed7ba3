#!/usr/bin/env python
"""Train or evaluate a model.

    python train_net.py --config-file configs/prompt_learner.yaml [KEY VALUE …]
    python train_net.py --config-file configs/cfrsam_b.yaml --num-gpus 2
    python train_net.py --config-file configs/cfrsam_b.yaml --resume
    python train_net.py --config-file configs/cfrsam_b.yaml --eval-only [MODEL.WEIGHTS FILE]

Training evaluates on DATASETS.VAL and keeps the best weights in OUTPUT_DIR/model_best.pth. When it
ends, they are scored on DATASETS.TEST. A run that was interrupted continues with --resume.
"""

import argparse
import sys
import time
from contextlib import nullcontext

import torch
from torch.multiprocessing.spawn import ProcessExitedException

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from cfrsam_d2.engine import NucleusTrainer, build_trained_model, load_config
from cfrsam_d2.engine.checks import check_training
from cfrsam_d2.engine.failures import full_disk_named
from cfrsam_d2.engine.resuming import check_same_config
from cfrsam_d2.engine.run_folder import check_unused, last_checkpoint, locked_folder
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError, exits_on_user_error


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


@exits_on_user_error
def main(args: argparse.Namespace) -> None:
    """Train or evaluate in this process."""
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
    if comm.get_world_size() > 1:
        # A thread of the process group that first gets to freeing its tensors after Python's end
        # aborts the process, and with it the others: they may end when the main one has scored.
        comm.synchronize()
        time.sleep(1)


@exits_on_user_error
def run(arguments: list[str] | None = None) -> None:
    """Read the command line and run `main` once per GPU."""
    parser = default_argument_parser(epilog=__doc__)
    args = parser.parse_args(arguments)
    num_gpus = torch.cuda.device_count()
    if num_gpus and args.num_gpus > num_gpus:
        raise UserError(f"--num-gpus is {args.num_gpus}, but there are {num_gpus}")
    try:
        launch(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    except ProcessExitedException as error:  # one of several, which has said why
        sys.exit(error.exit_code)


if __name__ == "__main__":
    run()
