"""Where tissue is: found, drawn by users, or all."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides import find_tissue, open_slide, read_tissue, whole_slide
from cfrsam_d2.slides.reader import SlideReader

pytestmark = pytest.mark.usefixtures("slides_extra")


class Painted:
    """A slide of which only the overview is known, of 8 µm/px; 32 slide px each."""

    def __init__(self, overview: np.ndarray) -> None:
        self.pixels = overview
        self.scale, self.mpp, self.slide_mpp = 1.0, 0.25, 0.25
        self.origin = (0, 0)
        height, width = overview.shape[:2]
        self.level0_size = self.size = (32 * width + 5, 32 * height + 5)

    def overview(self, mpp: float) -> np.ndarray:
        return self.pixels

    def overview_size(self, mpp: float) -> tuple[int, int]:
        return self.pixels.shape[1], self.pixels.shape[0]


def glass(height: int = 300, width: int = 400) -> np.ndarray:
    """A noisy, slightly tinted empty slide."""
    noise = np.random.default_rng(0).integers(-4, 5, (height, width, 3))
    return (np.array([240, 236, 243]) + noise).astype(np.uint8)


def slide(overview: np.ndarray) -> SlideReader:
    return Painted(overview)  # pyright: ignore


PINK = (225, 170, 205)


def test_tissue_is_found_and_grown_by_64_micrometers() -> None:
    y, x = np.mgrid[:300, :400]
    field = np.hypot(y - 140, (x - 180) / 1.5) < 70
    tissue = find_tissue(slide(np.where(field[..., None], np.array(PINK, np.uint8), glass())))
    distance = distance_transform_edt(~field)
    assert tissue.mask[distance <= 7].all()
    assert not tissue.mask[distance >= 10].any()
    assert tissue.mm2 == pytest.approx(tissue.mask.sum() * 64e-6)


def test_an_empty_slide_stays_empty_and_a_full_one_full() -> None:
    empty = find_tissue(slide(glass()))
    assert empty.mm2 == 0
    assert empty.polygons().is_empty
    assert not empty.touches(0, 0, 12_800, 9_600)
    pink = (np.array(PINK) + np.random.default_rng(1).integers(-30, 30, (300, 400, 3))).astype(
        np.uint8
    )
    assert find_tissue(slide(pink)).mask.all()
    black = glass()
    black[:, :90] = np.random.default_rng(0).integers(0, 12, (300, 90, 3))
    assert find_tissue(slide(black)).mm2 == 0


def test_crumbs_are_dropped_but_not_a_small_image() -> None:
    overview = glass()
    overview[100:127, 100:127] = PINK  # 0.047 mm²
    overview[200:232, 200:232] = PINK  # 0.066 mm²
    tissue = find_tissue(slide(overview))
    assert not tissue.mask[:150].any()
    assert tissue.mask[200:232, 200:232].all()
    overview[100:130, 20:60] = PINK
    overview[110:118, 62:90] = PINK  # hangs on it
    assert find_tissue(slide(overview)).mask[110:118, 62:90].all()
    assert find_tissue(slide(np.full((8, 8, 3), PINK, np.uint8))).mask.all()


def test_boxes_and_polygons_are_in_px_of_the_slide() -> None:
    overview = glass()
    overview[100:140, 200:260] = PINK
    overview[115:118, 220:223] = 250  # a hole that grows together
    tissue = find_tissue(slide(overview))
    assert tissue.touches(32 * 200, 32 * 100, 32 * 200 + 1, 32 * 100 + 1)
    assert tissue.touches(32 * 192 - 40, 32 * 110, 32 * 192 + 1, 32 * 111)
    assert not tissue.touches(0, 0, 32 * 192, 32 * 300)
    assert not tissue.touches(32 * 268 + 1, 0, 12_805, 9_605)
    assert not tissue.touches(12_801, 0, 12_805, 9_605)
    polygons = tissue.polygons()
    assert polygons.is_valid
    assert polygons.bounds == (32 * 192, 32 * 92, 32 * 268, 32 * 148)
    assert polygons.area == tissue.mask.sum() * 32**2
    assert len(polygons.geoms) == 1


def test_the_whole_slide_is_taken_without_a_look(
    svs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SlideReader, "overview", None)
    with open_slide(svs, model_mpp=0.25) as reader:
        tissue = whole_slide(reader)
    assert tissue.mask.all()
    assert tissue.touches(623, 495, 624, 496)
    assert tissue.digest() == whole_slide(reader).digest()


def test_a_digest_tells_masks_apart() -> None:
    one, other = glass(), glass()
    one[100:140, 200:260], other[100:140, 200:261] = PINK, PINK
    digests = {find_tissue(slide(overview)).digest() for overview in (one, other, one)}
    assert len(digests) == 2


def test_a_mask_of_any_size_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    for factor in (1, 3):
        mask = np.zeros((300 * factor, 400 * factor), np.uint8)
        mask[50 * factor : 60 * factor, 70 * factor : 90 * factor] = 1
        Image.fromarray(mask).save(path)
        tissue = read_tissue(path, slide(glass()))
        expected = np.zeros((300, 400), bool)
        expected[50:60, 70:90] = True
        assert (tissue.mask == expected).all()
    Image.fromarray(mask[:, :900]).save(path)
    with pytest.raises(UserError, match=r"has 900 × 900 px.*of the whole slide"):
        read_tissue(path, slide(glass()))


SQUARE = [[3200, 1600], [6400, 1600], [6400, 4800], [3200, 4800], [3200, 1600]]
HOLE = [[4000, 2400], [4800, 2400], [4800, 3200], [4000, 3200], [4000, 2400]]


def test_annotations_of_qupath_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tissue.geojson"
    polygon = {"type": "Polygon", "coordinates": [SQUARE, HOLE]}
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}}
    feature = {"type": "Feature", "geometry": polygon, "properties": {"objectType": "annotation"}}
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [HOLE]]}
    contents = [
        {"type": "FeatureCollection", "features": [feature, point]},
        [point, feature],
        feature,
        polygon,
        multi,
    ]
    for content in contents:
        path.write_text(json.dumps(content))
        mask = read_tissue(path, slide(glass())).mask
        assert mask[50:150, 100:124].all()
        assert mask[:, :98].sum() == mask[152:].sum() == 0
        assert mask[85:90, 135:140].all() == (content is multi)


def test_masks_that_cannot_be_meant(tmp_path: Path) -> None:
    far = [[x + 1e6, y] for x, y in SQUARE]
    contents = {
        "no.geojson": None,
        "text.geojson": "tissue",
        "type.geojson": '{"features": []}',
        "ring.geojson": '{"type": "Polygon", "coordinates": [[1, 2]]}',
        "null.geojson": '{"type": "Feature", "geometry": null}',
        "empty.geojson": '{"type": "FeatureCollection", "features": []}',
        "far.geojson": json.dumps({"type": "Polygon", "coordinates": [far]}),
        "no.png": None,
        "text.png": "tissue",
    }
    for name, content in contents.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=name):
            read_tissue(tmp_path / name, slide(glass()))


def test_tissue_of_a_real_slide(shared: Path) -> None:
    with open_slide(shared / "data/wsi/CMU-1-Small-Region.svs", model_mpp=0.25) as reader:
        tissue = find_tissue(reader)
        assert 0.6 < tissue.mm2 < 1.1  # of 1.64
        polygons = tissue.polygons()
        assert polygons.is_valid
        assert polygons.area * reader.mpp**2 / 1e6 == pytest.approx(tissue.mm2)
