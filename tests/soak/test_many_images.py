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
NOISE = 8  # gray levels
PAGE = os.sysconf("SC_PAGE_SIZE")
LIBC = ctypes.CDLL(None)
GROWTH = 0.05  # MB per image, of which 500 would be 25


def resident() -> float:
    """MB of memory that this process has now.

    Not what the C library keeps of what was freed: pieces of many sizes, 100 MB more or less.
    """
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 1e6


def tissue(tiles: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A noisy piece of any size, (H, W, 3), of tiles laid beside each other."""
    height, width = rng.integers(*SIDES, size=2)
    side = tiles[0].shape[0]
    rows, columns = -(-height // side), -(-width // side)
    chosen = rng.integers(len(tiles), size=(rows, columns))
    laid = np.concatenate([np.concatenate([tiles[i] for i in row], axis=1) for row in chosen])
    noisy = laid[:height, :width] + rng.normal(0, NOISE, size=(height, width, 3))
    return noisy.clip(0, 255).astype(np.uint8)


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="memory is read in /proc")
def test_memory_is_flat(
    data: Path, segmenter: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    _, config, *overrides = segmenter
    predictor = NucleusPredictor(config, overrides=overrides)
    find_discs(predictor.model.mask_head)
    files = sorted((data / "train" / "images").iterdir())
    tiles = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    rng = np.random.default_rng(0)
    memory, nuclei = [], 0
    for _ in range(IMAGES):
        nuclei += len(predictor(tissue(tiles, rng)))
        memory.append(resident())
    later = memory[len(memory) // 2 :]  # by then, every size has been there
    slope = float(np.polyfit(range(len(later)), later, 1)[0])
    with capsys.disabled():
        figures = f"{nuclei} nuclei, {memory[-1]:.0f} MB, {1e3 * slope:+.1f} kB an image"
        print(f"\n{IMAGES} images: {figures} over the later half")
    assert nuclei > IMAGES
    assert slope < GROWTH
