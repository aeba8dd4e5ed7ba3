"""Versions for the log."""

import platform

import cv2
import fvcore
import numpy as np
import torch
import torchvision
from tabulate import tabulate

import detectron2


def collect_env_info() -> str:
    """A table of the versions that a run depends on, and its GPUs."""
    rows = [
        ("Platform", platform.platform()),
        ("Python", platform.python_version()),
        ("detectron2", f"{detectron2.__version__} @{detectron2.__path__[0]}"),
        *((m.__name__, m.__version__) for m in (torch, torchvision, np, cv2, fvcore)),
        ("GPU available", torch.cuda.is_available()),
    ]
    for index in range(torch.cuda.device_count()):
        rows.append((f"GPU {index}", torch.cuda.get_device_name(index)))
    return tabulate(rows)
