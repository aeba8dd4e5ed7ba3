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

import torch
from torch.multiprocessing.spawn import ProcessExitedException

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from cfrsam_d2.engine import NucleusTrainer, build_trained_model, load_config
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError, exits_on_user_error


def setup(args: argparse.Namespace) -> CfgNode:
    """Read the config, set up the log, and keep a copy of both in OUTPUT_DIR."""
    cfg = load_config(args.config_file, args.opts)
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="cfrsam_d2")
    if not args.eval_only:
        check_initial_weights(cfg, resume=args.resume)
    cfg.freeze()
    return cfg


@exits_on_user_error
def main(args: argparse.Namespace) -> None:
    """Train or evaluate in this process."""
    cfg = setup(args)
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
