"""What `cfrsam doctor` does: a table of what is there, and one small prediction."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path

import detectron2
import numpy as np
import torch
from tabulate import tabulate

from .. import __file__ as package_file
from .._version import __version__
from ..predictor import NucleusPredictor
from .download import FILES

PACKAGES = ("torch", "torchvision", "timm", "segment-anything", "numpy", "opencv-python-headless")
EXTRAS = {
    "slides": "openslide-python",
    "spatial": "spatialdata",
    "remote": "fsspec",
    "annotate": "uvicorn",
    "fleet": "ray",
}


def examine() -> bool:
    """Print what is found, and return whether a prediction works."""
    works, prediction = predict_once()
    rows = [
        ("cfrsam_d2", f"{__version__}, {Path(package_file).parent}"),
        ("Python", f"{platform.python_version()}, {platform.platform()}"),
        *((name, version(name)) for name in PACKAGES),
        ("Detectron2", describe_detectron2()),
        ("CUDA", describe_cuda()),
        ("CPU threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"),
        ("memory", describe_memory()),
        *((f"extra [{extra}]", version(package)) for extra, package in EXTRAS.items()),
        ("weights", describe_weights(Path("weights"))),
        ("a prediction", prediction),
    ]
    print(tabulate(rows, tablefmt="plain"))
    return works


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe_detectron2() -> str:
    file = str(detectron2.__file__)
    is_standin = Path(file).is_relative_to(Path(package_file).parent)
    return "not installed: the stand-in of cfrsam_d2" if is_standin else file


def describe_cuda() -> str:
    if not torch.cuda.is_available():
        return f"none (PyTorch was built for {torch.version.cuda or 'CPUs'})"
    names = (torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
    return f"{torch.version.cuda}: {', '.join(names)}"


def describe_memory() -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return f"{total / 2**30:.1f} GiB"


def describe_weights(folder: Path) -> str:
    """Which of those that `cfrsam download` gets are in a folder."""
    found = [name for name, file in FILES.items() if (folder / file).is_file()]
    return f"{', '.join(found) or 'none'} in {folder}/ (cfrsam download gets {', '.join(FILES)})"


def predict_once() -> tuple[bool, str]:
    """Whether the small model of the project predicts, and in what time or why not."""
    start = time.monotonic()
    try:
        predictor = NucleusPredictor()
        nuclei = predictor(np.full((64, 64, 3), 230, np.uint8), 40)
    except Exception as error:  # whatever it is, it is what one wants to know
        return False, f"FAILED: {type(error).__name__}: {error}"
    device = predictor.cfg.MODEL.DEVICE
    seconds = time.monotonic() - start
    return True, f"works on {device}, {seconds:.1f} s, {len(nuclei)} nuclei in an empty image"
