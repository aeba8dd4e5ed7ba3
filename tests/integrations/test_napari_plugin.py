"""The plugin of napari: its manifest, its layers, and its widget without a screen."""

import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("napari", reason="napari is not installed: `pip install -e '.[napari]'`")

from finders import CONFIG, KEYS, write_weights
from known_prompts import find_discs
from napari.components import ViewerModel
from napari.layers import Image, Layer
from npe2 import PluginManifest

import cfrsam_d2.integrations.napari as plugin
from cfrsam_d2.errors import UserError
from cfrsam_d2.integrations.napari.widget import find_nuclei, nuclei_layers
from cfrsam_d2.predictor import NucleusPredictor

PIXELS = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> NucleusPredictor:
    """Of known masks, discs."""
    weights = tmp_path_factory.mktemp("weights") / "weights.pth"
    write_weights(weights)
    made = NucleusPredictor(CONFIG, weights, KEYS)
    find_discs(made.model.mask_head)
    return made


def test_the_manifest_names_what_there_is() -> None:
    manifest = PluginManifest.from_file(Path(plugin.__file__).with_name("napari.yaml"))
    manifest.validate_imports()
    assert [each.command for each in manifest.contributions.widgets] == ["cfrsam_d2.find_nuclei"]


def test_layers_lie_on_the_image_and_know_the_nuclei(predictor: NucleusPredictor) -> None:
    expected = predictor(PIXELS)
    assert len(expected) > 0
    image = Image(PIXELS, rgb=True, name="tile", scale=(2, 2), translate=(10, 20))
    viewer = ViewerModel()
    viewer.add_layer(image)
    for each in nuclei_layers(image, predictor):
        viewer.add_layer(Layer.create(*each))
    labels, points = viewer.layers["tile labels"], viewer.layers["tile nuclei"]
    for layer in (labels, points):
        assert (layer.scale == image.scale).all()
        assert (layer.translate == image.translate).all()
    assert labels.data.shape == (96, 128)
    assert len(points.data) == len(expected)
    assert len(labels.features) == len(expected) + 1
    for number, ((row, column), name) in enumerate(
        zip(points.data, points.features["class"], strict=True), start=1
    ):
        label = labels.data[round(row), round(column)]
        assert name in predictor.classes
        assert labels.features["class"][number] == name
        assert label in (number, *range(1, number))  # a better one may lie on top


def test_magnification_is_the_layers(predictor: NucleusPredictor) -> None:
    """At 20× the model sees twice as many pixels, as in prediction."""
    image = Image(PIXELS, rgb=True, scale=(0.5, 0.5), units=("um", "um"))
    _, points = nuclei_layers(image, predictor)
    expected = predictor(PIXELS, 20)
    assert len(points[0]) == len(expected) > 0
    assert sorted(points[0][:, 1]) == sorted(expected.pred_points[:, 0].tolist())


def test_grey_and_pyramids_are_read_and_stacks_refused(predictor: NucleusPredictor) -> None:
    grey = Image(PIXELS[..., 0])
    assert nuclei_layers(grey, predictor)[0][0].shape == (96, 128)
    pyramid = Image([PIXELS, PIXELS[::2, ::2]], rgb=True, multiscale=True)
    assert nuclei_layers(pyramid, predictor)[0][0].shape == (96, 128)
    with pytest.raises(UserError, match="take an RGB image"):
        nuclei_layers(Image(np.zeros((3, 96, 128), np.uint8)), predictor)


def test_the_widget_asks_for_an_image(qtbot) -> None:
    widget = find_nuclei()
    qtbot.addWidget(widget.native)
    assert [each.name for each in widget][:4] == ["image", "config", "weights", "magnification"]
    assert widget.call_button.text == "Find nuclei"
