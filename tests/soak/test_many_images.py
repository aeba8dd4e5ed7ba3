"""Hundreds of images of many sizes through one predictor: memory stays where it is."""

import ctypes
import os
from pathlib import Path

import numpy as np
import pytest
from known_prompts import find_discs
from PIL import Image

from cfrsam_d2.predictor import NucleusPredictor

pytestmark = pytest.mark.slow
IMAGES = int(os.environ.get("CFRSAM_SOAK_IMAGES", 500))
SIDES = (48, 400)  # px, the least and the most
SIZES = 100  # different ones: PyTorch keeps kernels for each, until it has seen them all
NOISE = 8  # gray levels
STATUS = Path("/proc/self/status")
LIBC = ctypes.CDLL(None)
GROWTH = 0.05  # MB per image, of which 500 would be 25


def own_memory() -> float:
    """MB that this process holds by itself, in memory or swapped out.

    Not what the C library keeps of what was freed, pieces of many sizes, 100 MB more or less; nor
    libraries' files, which come and go with what else runs.
    """
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    fields = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    return sum(int(fields[name].split()[0]) for name in ("RssAnon", "VmSwap")) / 1000  # of kB


def tissue(
    tiles: list[np.ndarray], height: int, width: int, rng: np.random.Generator
) -> np.ndarray:
    """A noisy piece, (H, W, 3), of tiles laid beside each other."""
    side = tiles[0].shape[0]
    rows, columns = -(-height // side), -(-width // side)
    chosen = rng.integers(len(tiles), size=(rows, columns))
    laid = np.concatenate([np.concatenate([tiles[i] for i in row], axis=1) for row in chosen])
    noisy = laid[:height, :width] + rng.normal(0, NOISE, size=(height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.mark.skipif(not STATUS.is_file(), reason="memory is read in /proc")
def test_memory_is_flat(
    data: Path, segmenter: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, config, *overrides = segmenter
    predictor = NucleusPredictor(config, overrides=overrides)
    find_discs(predictor.model.mask_head)
    files = sorted((data / "train" / "images").iterdir())
    tiles = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    rng = np.random.default_rng(0)
    sizes = rng.integers(*SIDES, size=(SIZES, 2))
    memory, nuclei = [], 0
    for number in range(IMAGES):
        nuclei += len(predictor(tissue(tiles, *sizes[number % SIZES], rng)))
        memory.append(own_memory())
    later = memory[len(memory) // 2 :]  # by then, every size has been there
    slope = float(np.polyfit(range(len(later)), later, 1)[0])
    with capsys.disabled():
        figures = f"{nuclei} nuclei, {memory[-1]:.0f} MB, {1e3 * slope:+.1f} kB an image"
        print(f"\n{IMAGES} images: {figures} over the later half")
    assert nuclei > IMAGES
    assert slope < GROWTH
