"""Slides made from real pixels."""

from pathlib import Path

import numpy as np

from cfrsam_d2.slides import open_slide
from cfrsam_d2.slides.synthetic import SyntheticPlane


def test_a_plane_is_mirrored_and_cut_out(tissue_pixels: np.ndarray) -> None:
    full = SyntheticPlane(tissue_pixels, (5000, 4000), glass=None)
    assert (full.read(0, 0, 256, 256) == tissue_pixels).all()
    assert (full.read(256, 512, 512, 768) == tissue_pixels[:, ::-1]).all()
    assert (full.read(512 * 7 + 3, 256, 512 * 7 + 9, 512) == tissue_pixels[::-1, 3:9]).all()
    cut = SyntheticPlane(tissue_pixels, (500, 400))
    tissue = cut.tissue(0, 0, 500, 400)
    assert 0.2 < tissue.mean() < 0.6
    assert not tissue[:3].any()
    pixels = cut.read(0, 0, 500, 400)
    assert (pixels[~tissue] == 242).all()
    assert (pixels[tissue] == full.read(0, 0, 500, 400)[tissue]).all()
    assert (cut.read(100, 200, 180, 230) == pixels[200:230, 100:180]).all()


def test_both_kinds_show_the_plane(svs: Path, ome_tiff: Path, plane: SyntheticPlane) -> None:
    expected = plane.read(0, 0, *plane.size).astype(int)
    for path in (svs, ome_tiff):
        with open_slide(path, model_mpp=0.25) as reader:
            pixels = reader.read(0, 0, *reader.size)
        assert np.abs(pixels - expected).mean() < 5  # JPEG
