"""Versions for the log."""

import sys

import detectron2
import torch
import torchvision
from tabulate import tabulate


def collect_env_info() -> str:
    """A table of the versions that a run depends on, and its GPUs."""
    libraries = (detectron2, torch, torchvision)
    gpus = (torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    rows = [(library.__name__, library.__version__) for library in libraries]
    return tabulate([("Python", sys.version), *rows, ("GPUs", ", ".join(gpus) or "none")])
