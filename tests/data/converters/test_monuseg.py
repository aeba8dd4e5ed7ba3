import cv2
import numpy as np
import pytest
from small_release import HEIGHT, WIDTH, write_image, write_monuseg, write_xml

from cfrsam_d2.data.coco import load_nucleus_json
from cfrsam_d2.data.converters.aperio import read_regions
from cfrsam_d2.data.converters.monuseg import convert_monuseg, outline_mask
from cfrsam_d2.data.converters.release import RELEASE_SPLITS
from cfrsam_d2.errors import UserError
from cfrsam_d2.structures.rle import decode_mask

SQUARE = ((2, 2), (6, 2), (6, 6), (2, 6))


def load(output):
    return {
        split: load_nucleus_json(output / split / "nuclei.json", output / split / "images")
        for split in RELEASE_SPLITS
    }


def masks_of(record):
    """Each nucleus in the whole image, (H, W) bool."""
    size = record["height"], record["width"]
    return [decode_mask(each["segmentation"]).frame(*size) for each in record["annotations"]]


def filled(outline, height=HEIGHT, width=WIDTH):
    return outline_mask(np.array(outline, dtype=float), height, width).frame(height, width)


def box(top, bottom, left, right):
    """A mask of the rows and columns between, both ends included."""
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top : bottom + 1, left : right + 1] = True
    return mask


@pytest.mark.parametrize(
    ("outline", "expected"),
    [
        (SQUARE, box(2, 6, 2, 6)),  # along pixel centres, as traced masks are
        (SQUARE[::-1], box(2, 6, 2, 6)),
        ((*SQUARE, SQUARE[0]), box(2, 6, 2, 6)),  # closed
        (((1.6, 2.1), (6.9, 2.1), (6.9, 5.9), (1.6, 5.9)), box(3, 5, 2, 6)),
        (((-9, -9), (3.5, -9), (3.5, 4), (-9, 4)), box(0, 4, 0, 3)),
        (((12, 9), (99, 9), (99, 99), (12, 99)), box(9, HEIGHT - 1, 12, WIDTH - 1)),
        (((3.1, 3.1), (3.9, 3.1), (3.9, 3.9)), box(1, 0, 1, 0)),  # between pixel centres
        (((50, 50), (60, 50), (60, 60)), box(1, 0, 1, 0)),  # off the image
        (((3, 5), (3, 5), (3, 5)), box(5, 5, 3, 3)),
    ],
)
def test_a_pixel_belongs_to_the_outline_its_centre_is_in_or_on(outline, expected):
    np.testing.assert_array_equal(filled(outline), expected)


def test_opencv_finds_the_same_pixels():
    rng = np.random.default_rng(0)
    for steps in (1, 2, 4, 100, 2**40):  # of a px: corners on centres, on edges between, anywhere
        for _ in range(12):
            corners = rng.uniform(-4, (WIDTH + 4, HEIGHT + 4), (rng.integers(3, 9), 2))
            outline = np.round(corners * steps) / steps
            contour = outline.astype(np.float32)
            expected = [
                [cv2.pointPolygonTest(contour, (x, y), False) >= 0 for x in range(WIDTH)]
                for y in range(HEIGHT)
            ]
            np.testing.assert_array_equal(filled(outline), expected)


def test_a_negative_region_is_a_hole_of_the_smallest_outline_around(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    path = source / "MoNuSegTestData" / "TCGA-T0.xml"
    wide, hole, off = ((0, 0), (10, 0), (10, 10), (0, 10)), ((3, 3), (4, 3), (4, 5), (3, 5)), 9
    write_xml(path, [hole, wide, SQUARE, [(x + off, y) for x, y in hole]])
    for number in (1, 4):
        text = path.read_text().replace(
            f'Id="{number}" NegativeROA="0"', f'Id="{number}" NegativeROA="1"'
        )
        path.write_text(text)
    summary = convert_monuseg(source, tmp_path / "out")
    first, second = masks_of(load(tmp_path / "out")["test"][0])
    np.testing.assert_array_equal(first, box(0, 10, 0, 10))
    np.testing.assert_array_equal(second, box(2, 6, 2, 6) & ~box(3, 5, 3, 4))
    assert "\n1 holes left out: in no outline" in summary


def test_traced_masks_come_back():
    drawn = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(drawn, (8, 6), 4, 1, cv2.FILLED)
    (contour,), _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    np.testing.assert_array_equal(filled(contour[:, 0]), drawn)


def test_overlapping_outlines_stay_whole_and_are_clipped(tmp_path):
    summary = convert_monuseg(write_monuseg(tmp_path / "MoNuSeg"), tmp_path / "out")
    splits = load(tmp_path / "out")
    assert [len(splits[split]) for split in RELEASE_SPLITS] == [6, 1, 2]
    for records in splits.values():
        for record in records:
            first, second = masks_of(record)
            np.testing.assert_array_equal(first, box(2, 6, 2, 6))
            np.testing.assert_array_equal(second, box(5, HEIGHT - 1, 5, 9))
            assert (record["tissue"], record["magnification"]) == ("unknown", 40)
            assert cv2.imread(record["file_name"])[0, 0].tolist() == [30, 20, 10]
    assert summary.endswith("\n9 outlines cut at the edge of the image")


def test_outlines_without_a_nucleus_are_counted(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    write_xml(
        source / "MoNuSegTestData" / "TCGA-T0.xml",
        [(), SQUARE[:1], (*SQUARE[:2], SQUARE[0]), ((2.1, 2.1), (2.9, 2.1), (2.9, 2.9)), SQUARE]
        + [((x, 3), (x + 4, 3), (x + 4, 7)) for x in (-9, WIDTH, WIDTH - 3)],
    )
    summary = convert_monuseg(source, tmp_path / "out")
    first, second = masks_of(load(tmp_path / "out")["test"][0])
    np.testing.assert_array_equal(first, box(2, 6, 2, 6))
    assert second.sum() == 3 + 2 + 1  # of a triangle that leaves the image
    assert summary.splitlines()[-4:] == [
        "9 outlines cut at the edge of the image",  # 8 of other images
        "3 outlines left out: fewer than three points",
        "2 outlines left out: off the image",
        "1 outlines left out: they enclose no pixel",
    ]


def test_images_added_after_the_challenge_are_left_out(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    training = source / "MoNuSeg 2018 Training Data"
    write_image(training / "Tissue Images" / "TCGA-XS-A8TJ-01Z-00-DX1.tif")
    write_xml(training / "Annotations" / "TCGA-XS-A8TJ-01Z-00-DX1.xml")
    summary = convert_monuseg(source, tmp_path / "out")
    assert "\n1 images left out: added after the challenge\n" in f"{summary}\n"
    splits = load(tmp_path / "out")
    assert [len(splits[split]) for split in RELEASE_SPLITS] == [6, 1, 2]


@pytest.mark.parametrize(
    "layout",
    [
        {"train": "MoNuSeg 2018 Training Data/MoNuSeg 2018 Training Data"},
        {"test": "MoNuSegTestData/MoNuSegTestData"},
        {"train": "MoNuSegTrainingData/MoNuSeg 2018 Training Data", "images": "Tissue images"},
        {"train": "monuseg/MonuSeg/Train", "test": "monuseg/MonuSeg/Test"},
        {"train": "train", "test": "test", "images": "tissue_images", "labels": "annotations"},
        {"train": "MoNuSeg_2018_Training_Data", "images": "TissueImages", "labels": "Annotation"},
        {"train": "MoNuSegTrainData", "test": "MoNuSeg 2018 Test Data", "suffix": ".png"},
        {"train": "training", "test": "testing", "images": ".", "labels": ".", "suffix": ".TIFF"},
    ],
)
def test_layouts_found_in_the_wild(tmp_path, layout):
    source = write_monuseg(tmp_path / "downloads", **layout)
    (source / "__MACOSX" / "MoNuSegTestData").mkdir(parents=True)
    convert_monuseg(source, tmp_path / "out")
    assert [len(records) for records in load(tmp_path / "out").values()] == [6, 1, 2]


def test_test_images_in_folders_of_their_own(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    folder = source / "MoNuSegTestData"
    for suffix, inner in ((".tif", "Tissue Images"), (".xml", "Annotations")):
        (folder / inner).mkdir()
        for path in folder.glob(f"*{suffix}"):
            path.rename(folder / inner / path.name)
    convert_monuseg(source, tmp_path / "out")
    assert len(load(tmp_path / "out")["test"]) == 2


def test_outlines_of_all_layers_are_read(tmp_path):
    write_xml(tmp_path / "a.xml", [SQUARE])
    text = (tmp_path / "a.xml").read_text()
    layer = text[text.index("<Annotation ") : text.index("</Annotations>")]
    (tmp_path / "a.xml").write_text(text.replace(layer, layer * 2))
    regions = read_regions(tmp_path / "a.xml")
    assert [region.outline.tolist() for region in regions] == [[list(xy) for xy in SQUARE]] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<Annotations><Annotation/></Annotations>", r"a\.xml has no Region: give the annotations"),
        ("", r"a\.xml is damaged or no XML \(no element found.*\): download it again"),
        ("<Annotations><Region", r"a\.xml is damaged or no XML \(unclosed token.*\): download it"),
        ("{}", r"a\.xml is damaged or no XML \(not well-formed.*\): download it"),
        (
            '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;<Region/></a>',
            r"a\.xml is damaged or no XML \(it has a DOCTYPE\): download it again",
        ),
        (
            '<?xml version="1.0" encoding="x-none"?><A/>',
            r"a\.xml is damaged or no XML \(unknown en",
        ),
    ],
)
def test_files_that_are_no_annotations(tmp_path, text, message):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(UserError, match=message):
        read_regions(tmp_path / "a.xml")


@pytest.mark.parametrize(
    ("vertex", "message"),
    [
        (("", 3), r"\(could not convert string to float: ''\)"),
        (("two", 3), r"\(could not convert string to float: 'two'\)"),
        ((2, "nan"), r"\(not finite\)"),
        ((2, 'inf" Q="'), r"\(not finite\)"),
        (('2" Q="', '" Q2="'), r"\(could not convert string to float: ''\)"),
    ],
)
def test_vertices_without_numbers(tmp_path, vertex, message):
    write_xml(tmp_path / "a.xml", [SQUARE, (*SQUARE, vertex)])
    remedy = r": correct it or remove the region"
    start = r"a\.xml: region 2 has a vertex without a number as X or Y "
    with pytest.raises(UserError, match=start + message + remedy):
        read_regions(tmp_path / "a.xml")


def test_a_vertex_without_y(tmp_path):
    write_xml(tmp_path / "a.xml", [SQUARE])
    text = (tmp_path / "a.xml").read_text()
    (tmp_path / "a.xml").write_text(text.replace('Y="6"', "", 1))
    with pytest.raises(UserError, match=r"region 1 has a vertex without a number .*\('Y'\): corr"):
        read_regions(tmp_path / "a.xml")


def test_an_image_without_regions_stops_before_anything_is_written(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    write_xml(source / "MoNuSegTestData" / "TCGA-T1.xml", [])
    with pytest.raises(UserError, match=r"TCGA-T1\.xml has no Region: give the annotations"):
        convert_monuseg(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_images_and_labels_must_match(tmp_path):
    source = write_monuseg(tmp_path / "MoNuSeg")
    (source / "MoNuSegTestData" / "TCGA-T1.xml").unlink()
    with pytest.raises(UserError, match=r"TCGA-T1\.tif has no label TCGA-T1\.xml: unpack the whol"):
        convert_monuseg(source, tmp_path / "out")
