"""Small releases in the layouts of CPM-17 and MoNuSeg, made by the tests."""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from scipy.io import savemat

HEIGHT, WIDTH = 12, 16  # px

# What is drawn into every image: two squares that overlap, one of which leaves the image.
OUTLINES = (((2, 2), (6, 2), (6, 6), (2, 6)), ((5, 5), (9, 5), (9, 20), (5, 20)))


def write_image(path: Path, height: int = HEIGHT, width: int = WIDTH) -> None:
    """An image whose upper left pixel alone is not black: red 10, green 20, blue 30."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[0, 0] = 30, 20, 10
    cv2.imwrite(str(path), image)


def inst_map() -> np.ndarray:
    """Ids 2 and 7; 7 in two pieces."""
    ids = np.zeros((HEIGHT, WIDTH))
    ids[1:4, 1:5] = 2
    ids[6:8, 6:8] = ids[10, 12] = 7
    return ids


def write_mat(path: Path, **arrays: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, arrays, appendmat=False, do_compression=True)


def write_xml(path: Path, outlines: Iterable[Iterable[tuple[object, object]]] = OUTLINES) -> None:
    regions = "".join(
        f'<Region Id="{number}" NegativeROA="0"><Attributes/><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in outline)
        + "</Vertices></Region>"
        for number, outline in enumerate(outlines, start=1)
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<Annotations MicronsPerPixel="0.252000"><Annotation Id="1"><Attributes/><Regions>'
        "<RegionAttributeHeaders/>"
        f"{regions}</Regions><Plots/></Annotation></Annotations>"
    )


def write_cpm17(
    source: Path,
    *,
    train: str = "train",
    test: str = "test",
    images: str = "Images",
    labels: str = "Labels",
    suffix: str = ".png",
) -> Path:
    """Seven training images and two test images; the first training image has no nucleus."""
    for folder, count in ((source / train, 7), (source / test, 2)):
        for number in range(count):
            name = f"image_{number:02d}"
            ids = inst_map() if number else np.zeros((HEIGHT, WIDTH))
            write_image(folder / images / f"{name}{suffix}")
            write_mat(folder / labels / f"{name}.mat", inst_map=ids)
            write_image(folder / "Overlay" / f"{name}.png")
    return source


def write_monuseg(
    source: Path,
    *,
    train: str = "MoNuSeg 2018 Training Data",
    test: str = "MoNuSegTestData",
    images: str = "Tissue Images",
    labels: str = "Annotations",
    suffix: str = ".tif",
) -> Path:
    """Seven training images and, images and labels in one folder, two test images."""
    for number in range(7):
        write_image(source / train / images / f"TCGA-{number}{suffix}")
        write_xml(source / train / labels / f"TCGA-{number}.xml")
    for number in range(2):
        write_image(source / test / f"TCGA-T{number}{suffix}")
        write_xml(source / test / f"TCGA-T{number}.xml")
    return source
