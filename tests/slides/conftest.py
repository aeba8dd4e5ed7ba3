"""Slides that the tests make themselves."""

from pathlib import Path

import numpy as np
import pytest
from finders import write_weights

from cfrsam_d2.data.synthetic.rendering import render
from cfrsam_d2.data.synthetic.scene import random_scene
from cfrsam_d2.slides.synthetic import SyntheticPlane, write_ome_tiff, write_svs

SIZE = (624, 496)  # divisible by all downsamplings


@pytest.fixture(scope="session")
def slides_extra() -> None:
    """Skip without what reads and writes slides."""
    for name in ("openslide", "imagecodecs", "shapely"):
        pytest.importorskip(name, reason=f"{name} is missing: pip install 'cfrsam_d2[slides]'")


@pytest.fixture(scope="session")
def tissue_pixels() -> np.ndarray:
    """(256, 256, 3) uint8."""
    rng = np.random.default_rng(0)
    return render(rng, random_scene(rng, "gland", 256, empty=False))


@pytest.fixture(scope="session")
def plane(tissue_pixels: np.ndarray) -> SyntheticPlane:
    return SyntheticPlane(tissue_pixels, SIZE)


@pytest.fixture(scope="session")
def svs(
    slides_extra: None, plane: SyntheticPlane, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("svs") / "slide.svs"
    write_svs(path, plane)
    return path


@pytest.fixture(scope="session")
def ome_tiff(
    slides_extra: None, plane: SyntheticPlane, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("ome") / "slide.ome.tif"
    write_ome_tiff(path, plane)
    return path


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `finders.write_weights`."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pth"
    write_weights(path)
    return path


@pytest.fixture(scope="session")
def slide(
    slides_extra: None, tissue_pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """large.svs, 2048 px a side."""
    path = tmp_path_factory.mktemp("slide") / "large.svs"
    write_svs(path, SyntheticPlane(tissue_pixels, (2048, 2048)), tile=256)
    return path
