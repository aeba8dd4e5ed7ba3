"""Staining a scene: hematoxylin and eosin at every pixel, and the light that passes them.

Both stains absorb by the law of Beer and Lambert, so that stains add and colours multiply.
"""

import cv2
import numpy as np

from .nuclei import EPITHELIAL, LYMPHOCYTE, SPINDLE, Nucleus
from .scene import Scene

# Absorption of red, green and blue by a unit of each stain.
_HEMATOXYLIN = np.array([0.62, 0.70, 0.35])
_EOSIN = np.array([0.10, 0.94, 0.33])
# Hematoxylin in the inside of a nucleus, on its rim, and the strength of its clumps, by class.
_CHROMATIN = {
    EPITHELIAL: (0.45, 0.75, 0.16),
    LYMPHOCYTE: (1.35, 1.35, 0.30),
    SPINDLE: (0.95, 1.05, 0.16),
}
_FAINT_SHARE = 0.12  # of nuclei, stained at half strength and out of focus


def render(rng: np.random.Generator, scene: Scene) -> np.ndarray:
    """Paint a scene.

    Returns:
        (size, size, 3) uint8, RGB.
    """
    eosin, hematoxylin = _background(rng, scene)
    for nucleus in scene.nuclei:
        _stain_nucleus(rng, nucleus, eosin, hematoxylin)
    return _photograph(rng, eosin, hematoxylin)


def _background(rng: np.random.Generator, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    size = scene.size
    fibres = _fibres(rng, size, scene.fibre_angle)
    clouds = _noise(rng, size, sigma=size / 10)
    eosin = 0.36 + 0.05 * clouds + 0.10 * fibres
    eosin += 0.05 * _noise(rng, size, sigma=0.8)
    hematoxylin = 0.07 + 0.025 * clouds + 0.02 * _noise(rng, size, sigma=1.5)
    # Clefts between the fibres, where the slide is bare.
    cleft = _smooth_step(_fibres(rng, size, scene.fibre_angle), 1.3, 2.2)
    eosin *= 1 - 0.75 * cleft
    if scene.gland is not None:
        _paint_gland(rng, scene.gland, eosin, hematoxylin)
    return eosin, hematoxylin


def _paint_gland(
    rng: np.random.Generator,
    gland: tuple[float, float, float],
    eosin: np.ndarray,
    hematoxylin: np.ndarray,
) -> None:
    """Cytoplasm in a ring, and the empty lumen inside of it."""
    (row, column, radius), size = gland, len(eosin)
    rows, columns = np.mgrid[:size, :size]
    distance = np.hypot(rows - row, columns - column) + 1.5 * _noise(rng, size, sigma=6)
    cell = 1 - _smooth_step(distance, radius + 15, radius + 18)
    lumen = 1 - _smooth_step(distance, radius - 20, radius - 16)
    granules = _noise(rng, size, sigma=1.5)
    eosin += cell * (0.40 + 0.05 * granules - eosin)
    hematoxylin += cell * (0.16 + 0.03 * granules - hematoxylin)
    eosin *= 1 - 0.85 * lumen
    hematoxylin *= 1 - 0.9 * lumen


def _stain_nucleus(
    rng: np.random.Generator, nucleus: Nucleus, eosin: np.ndarray, hematoxylin: np.ndarray
) -> None:
    """Paint one nucleus over what is there, with membrane, chromatin clumps and nucleolus."""
    inside, rim, clumps = _CHROMATIN[nucleus.class_index]
    texture = _noise(rng, len(nucleus.level), sigma=1.2)
    chromatin = inside + clumps * texture
    chromatin += (rim - inside) * np.exp(-(((nucleus.level - 0.9) / 0.12) ** 2))
    if nucleus.class_index == EPITHELIAL:
        chromatin += _nucleoli(rng, nucleus)
    faint = rng.random() < _FAINT_SHARE
    chromatin = chromatin.clip(0.05, None) * rng.uniform(0.85, 1.15) * (0.5 if faint else 1.0)
    cover = cv2.GaussianBlur((nucleus.level <= 1).astype(np.float64), (0, 0), 1.3 if faint else 0.7)
    where, patch = nucleus.window(len(eosin))
    cover, chromatin = cover[patch], chromatin[patch]
    hematoxylin[where] += cover * 0.95 * (chromatin - hematoxylin[where])
    eosin[where] += cover * 0.7 * (0.22 - eosin[where])


def _nucleoli(rng: np.random.Generator, nucleus: Nucleus) -> np.ndarray:
    centre = len(nucleus.level) // 2
    rows, columns = np.mgrid[: len(nucleus.level), : len(nucleus.level)] - centre
    spots = np.zeros_like(nucleus.level)
    for _ in range(rng.integers(1, 3)):
        row, column = rng.uniform(-3, 3, size=2)
        radius = rng.uniform(1.0, 1.8)
        spots += 0.6 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * radius**2))
    return spots


def _photograph(rng: np.random.Generator, eosin: np.ndarray, hematoxylin: np.ndarray) -> np.ndarray:
    """Light through the slide, with this slide's stain, the microscope's blur, and noise."""
    colours = np.stack([_HEMATOXYLIN, _EOSIN]) + rng.normal(0, 0.02, size=(2, 3))
    amounts = np.stack([hematoxylin * rng.uniform(0.85, 1.2), eosin * rng.uniform(0.75, 1.3)], -1)
    white = rng.uniform(236, 248) * np.array([1.0, 0.995, 0.99])
    light = white * np.exp(-amounts @ colours.clip(0.02, None))
    light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 0.8))
    light += rng.normal(0, rng.uniform(1.5, 3.5), size=light.shape)
    return np.rint(light.clip(0, 255)).astype(np.uint8)


def _fibres(rng: np.random.Generator, size: int, angle: float) -> np.ndarray:
    """Wavy streaks along `angle`, of mean 0 and deviation 1."""
    streaks = _normalised(
        cv2.GaussianBlur(rng.normal(size=(2 * size, 2 * size)), (0, 0), 18, None, 1.6)
    )
    y, x = np.mgrid[:size, :size] - size / 2
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    wave = 3 * np.sin(along * 2 * np.pi / rng.uniform(50, 90) + rng.uniform(0, 2 * np.pi))
    map_x, map_y = (along + size).astype(np.float32), (across + wave + size).astype(np.float32)
    return cv2.remap(streaks, map_x, map_y, cv2.INTER_LINEAR)


def _noise(rng: np.random.Generator, size: int, sigma: float) -> np.ndarray:
    """Smooth noise of mean 0 and deviation 1; `sigma` in px says how smooth."""
    return _normalised(cv2.GaussianBlur(rng.normal(size=(size, size)), (0, 0), sigma))


def _normalised(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def _smooth_step(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values - low) / (high - low)).clip(0, 1)
