"""The QuPath script's command, on a region as it exports it: an ImageJ TIFF with pixel size."""

import json
import re
from pathlib import Path

import tifffile

import cfrsam_d2.integrations
from cfrsam_d2.commands.main import main

SCRIPT = Path(cfrsam_d2.integrations.__file__).parent / "qupath" / "find_nuclei.groovy"
REGION = Path(__file__).resolve().parents[2] / "datasets" / "example" / "cmu1_region.tif"
SIDE = 128  # px at 0.5 µm


def words_of_script(image: Path, output: Path) -> list[str]:
    """What the script runs, of its own text."""
    text = SCRIPT.read_text(encoding="utf-8")
    (program,) = re.findall(r"^def command = \[(.*)\]$", text, re.MULTILINE)
    (options,) = re.findall(r"^def options = \[(.*)\]$", text, re.MULTILINE)
    (arguments,) = re.findall(r"^ +def words = command \+ \[(.*)\] \+ options$", text, re.MULTILINE)
    assert options == ""
    values = {"image.getPath()": str(image), "output.getPath()": str(output)}
    words = [word.strip() for word in f"{program}, {arguments}".split(",")]
    return [values.get(word, word.strip('"')) for word in words]


def test_a_region_becomes_objects_of_qupath(tmp_path: Path) -> None:
    """With the small model, which sees it at its own magnification."""
    image, output = tmp_path / "region.tif", tmp_path / "nuclei"
    resolution = {"resolution": (2, 2), "metadata": {"unit": "um"}}  # px a µm
    tifffile.imwrite(image, tifffile.imread(REGION)[:SIDE, :SIDE], imagej=True, **resolution)
    program, *words = words_of_script(image, output)
    assert program == "cfrsam"
    main(words)
    # The file that the script reads.
    assert 'new File(output, "region.geojson")' in SCRIPT.read_text(encoding="utf-8")
    features = json.loads((output / "region.geojson").read_text())["features"]
    assert len(features) > 5
    for feature in features:
        assert feature["properties"]["objectType"] == "detection"
        assert feature["properties"]["classification"]["name"]
        rings = feature["geometry"]["coordinates"]
        assert feature["geometry"]["type"] == "Polygon" or len(rings) > 1
        corners = [corner for ring in rings for corner in ring] if len(rings[0][0]) == 2 else []
        assert all(0 <= x <= SIDE and 0 <= y <= SIDE for x, y in corners)
