"""Prompts that come and go, without a page."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Instances
from disc_predictor import CONFIG, RADIUS, count_calls, image, with_discs
from PIL import Image
from tiny_demo import TINY

from cfrsam_d2.apps.annotate import AnnotationSession
from cfrsam_d2.engine import load_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.export import ExportFolder
from cfrsam_d2.predictor import NucleusPredictor

Build = Callable[..., NucleusPredictor]


def without_nuclei(predictor: NucleusPredictor, source: Any = None) -> AnnotationSession:
    source = image(72, 100) if source is None else source
    session = AnnotationSession(predictor, source, "tile.png")
    session.nuclei = session.nuclei[:0]
    return session


def assert_same(actual: Instances, expected: Instances) -> None:
    assert torch.equal(actual.pred_masks.boxes, expected.pred_masks.boxes)
    assert torch.equal(actual.pred_masks.pixels, expected.pred_masks.pixels)
    assert torch.equal(actual.pred_points, expected.pred_points)
    assert torch.equal(actual.pred_classes, expected.pred_classes)
    torch.testing.assert_close(actual.scores, expected.scores, rtol=0, atol=1e-5)


def test_at_first_there_are_the_nuclei_that_the_model_predicts(predictor: Build) -> None:
    made = predictor()
    expected = made(image(72, 100))
    session = AnnotationSession(made, image(72, 100), "tile.png")
    assert len(session.nuclei) == len(expected) > 0
    assert_same(session.nuclei, expected)


def test_an_added_nucleus_is_the_models(predictor: Build) -> None:
    """Removing one and clicking on its very point gives its mask again."""
    made = predictor("MODEL.CFRSAM.NEGATIVE_PROMPTS", "0")
    session = AnnotationSession(made, image(72, 100), "tile.png")
    old = session.nuclei[0]
    session.nuclei = session.nuclei[:0]
    done = session.toggle(*old.pred_points[0].tolist(), old.pred_classes.item())
    assert done.startswith("Added")
    assert_same(session.nuclei, old)


def test_a_file_is_seen_at_the_models_magnification(predictor: Build, tmp_path: Path) -> None:
    """As in prediction; a nucleus that is added lies where the click was, in the file's px."""
    path = tmp_path / "tile.png"
    Image.fromarray(image(72, 100)).save(path, dpi=(25_400 / 0.5, 25_400 / 0.5))  # 20×
    made = predictor("INPUT.MAGNIFICATION", "40")
    expected = made(path)
    session = AnnotationSession(made, path, "tile.png")
    assert session.magnification == 20
    assert_same(session.nuclei, expected)
    session = without_nuclei(with_discs(made), path)
    session.toggle(30, 40)
    (mask,) = session.nuclei.pred_masks
    assert session.nuclei.pred_points.tolist() == [[30, 40]]
    x0, y0, x1, y1 = mask.box
    assert x1 - x0 == pytest.approx(RADIUS, abs=1)  # px of 20×
    assert ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2) == pytest.approx((30, 40), abs=0.5)


def test_a_click_adds_and_removes(predictor: Build) -> None:
    session = without_nuclei(predictor(discs=True))
    assert session.toggle(30, 40) == (
        f"Added a nucleus of class {session.classes[0]}, estimated IoU 0.75."
    )
    (mask,) = session.nuclei.pred_masks
    assert mask.box == (30 - RADIUS, 40 - RADIUS, 31 + RADIUS, 41 + RADIUS)
    session.toggle(60, 40, category=2)
    assert session.toggle(30 + RADIUS, 40) == f"Removed a nucleus of class {session.classes[0]}."
    assert session.nuclei.pred_points.tolist() == [[60, 40]]


def test_the_class_is_the_chosen_or_that_of_the_nearest(predictor: Build) -> None:
    session = without_nuclei(predictor(discs=True))
    session.toggle(20, 20, category=1)
    session.toggle(80, 20, category=2)
    session.toggle(20, 50)
    session.toggle(80, 50)
    assert session.nuclei.pred_classes.tolist() == [1, 2, 1, 2]


def test_of_overlapping_nuclei_the_nearest_is_removed(predictor: Build) -> None:
    session = without_nuclei(predictor(discs=True))
    session.toggle(30, 40, category=0)
    session.toggle(30 + RADIUS + 1, 40, category=1)
    session.toggle(30 + RADIUS - 2, 40)
    assert session.nuclei.pred_classes.tolist() == [0]


def test_the_encoder_runs_once_per_window(predictor: Build) -> None:
    made = predictor("MODEL.SLIDING_WINDOW.SIZE", "64", "MODEL.SLIDING_WINDOW.OVERLAP", "32",
                     discs=True)  # fmt: skip
    session = AnnotationSession(made, image(64, 160), "tile.png")
    places = [(8, 20), (80, 20), (150, 20), (8, 44), (150, 44), (80, 44)]
    for x, y in places:
        session.toggle(x, y)
    assert made.encoded == [4]  # one batch: windows start at 0, 32, 64 and 96
    session.nuclei = session.nuclei[:0]
    for x, y in places:
        assert session.toggle(x, y).startswith("Added")
    assert made.encoded == [4]


def test_test_time_augmentation_is_the_models(predictor: Build) -> None:
    """All eight views of a window are encoded once."""
    made = predictor("TEST.AUG.ENABLED", "True", "MODEL.CFRSAM.NEGATIVE_PROMPTS", "0")
    expected = made(image(72, 100))
    encoded = count_calls(made.model.backbone)
    session = AnnotationSession(made, image(72, 100), "tile.png")
    assert len(expected) > 0
    assert_same(session.nuclei, expected)
    old = session.nuclei[0]
    session.nuclei = session.nuclei[:0]
    session.toggle(*old.pred_points[0].tolist(), old.pred_classes.item())
    assert_same(session.nuclei, old)
    assert encoded == [1] * 8


def test_the_nearest_prompts_are_a_clicks_negative_ones(predictor: Build) -> None:
    made = predictor("MODEL.CFRSAM.NEGATIVE_PROMPTS", "2", discs=True)
    session, inference, asked = without_nuclei(made), made.model.mask_head.inference, []

    def noting(maps, prompts, prompt_image):
        asked.append(prompts)
        return inference(maps, prompts, prompt_image)

    made.model.mask_head.inference = noting
    for place in ((30, 40), (60, 40), (10, 10), (34, 60)):
        session.toggle(*place)
    assert session.nuclei.pred_points.tolist() == [[30, 40], [60, 40], [10, 10], [34, 60]]
    first, last = asked[0][0], asked[-1][0]
    assert first[0].tolist() == [30, 40]
    assert first[1:].isnan().all()
    assert last.tolist() == [[34, 60], [30, 40], [60, 40]]


def test_steps_are_undone_and_done_again(predictor: Build) -> None:
    session = AnnotationSession(predictor(discs=True), image(72, 100), "tile.png")
    found = session.nuclei
    assert not session.can_undo
    assert session.undo() == "Nothing to undo."
    for point in found.pred_points.tolist():
        session.toggle(*point)
    assert len(session.nuclei) == 0 < len(found)
    assert session.reset() == "Back to what the model finds."
    assert_same(session.nuclei, found)
    for count in range(len(found) + 1):  # the reset, then one removal after the other
        assert session.undo() == f"Undone: {count} nuclei."
    assert_same(session.nuclei, found)
    assert not session.can_undo
    assert session.redo() == f"Done again: {len(found) - 1} nuclei."
    session.toggle(*found.pred_points[0].tolist())
    assert not session.can_redo
    assert session.redo() == "Nothing to redo."


def test_a_class_is_changed(predictor: Build) -> None:
    session = without_nuclei(predictor(discs=True))
    session.toggle(30, 40, category=0)
    session.toggle(60, 40, category=0)
    assert session.change_class(58, 41, 2) == f"Class {session.classes[2]} now."
    assert session.nuclei.pred_classes.tolist() == [0, 2]
    session.undo()
    assert session.nuclei.pred_classes.tolist() == [0, 0]
    assert session.change_class(90, 10, 2) == "No nucleus here."


def test_exported_nuclei_are_read_again(predictor: Build, tmp_path: Path) -> None:
    session = without_nuclei(predictor(discs=True))
    session.toggle(30, 40, category=1)
    session.toggle(1, 71, category=2)  # cut by the image
    before = session.nuclei
    folder = ExportFolder(tmp_path, ["geojson"])
    folder.write("two", folder.encode(session.prediction()))
    session.toggle(60, 20, category=0)
    assert session.read_geojson(tmp_path / "two.geojson") == "Read 2 nuclei."
    assert session.nuclei.pred_classes.tolist() == before.pred_classes.tolist()
    assert torch.equal(session.nuclei.pred_masks.boxes, before.pred_masks.boxes)
    assert torch.equal(session.nuclei.pred_masks.pixels, before.pred_masks.pixels)
    session.undo()
    assert len(session.nuclei) == 3
    other = (tmp_path / "two.geojson").read_text().replace(f'"{session.classes[2]}"', '"dust"')
    (tmp_path / "other.geojson").write_text(other)
    with pytest.raises(UserError, match="is of class 'dust', which the model does not have"):
        session.read_geojson(tmp_path / "other.geojson")
    assert len(session.nuclei) == 3


def test_nothing_where_the_model_cuts_out_nothing(predictor: Build) -> None:
    made = predictor(discs=True)
    session = without_nuclei(made)
    made.model.mask_head.inference = lambda maps, prompts, prompt_image: (
        torch.zeros(len(prompts), *maps.frame_size, dtype=torch.bool),
        torch.ones(len(prompts)),
        None,
    )
    assert session.toggle(30, 40).startswith("No mask here")
    assert len(session.nuclei) == 0


def test_export(predictor: Build, tmp_path: Path) -> None:
    session = without_nuclei(predictor(discs=True))
    folder = ExportFolder(tmp_path, ["geojson", "csv", "npy"])
    folder.write("none", folder.encode(session.prediction()))
    session.toggle(30, 40, category=1)
    session.toggle(60, 40, category=2)
    folder.write("two", folder.encode(session.prediction()))
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []
    features = json.loads((tmp_path / "two.geojson").read_text())["features"]
    names = [each["properties"]["classification"]["name"] for each in features]
    assert names == [session.classes[1], session.classes[2]]
    labels = np.load(tmp_path / "two.npy")
    assert (labels[40, 30], labels[40, 60], labels[0, 0]) == (1, 2, 0)


def test_precision_is_the_models(predictor: Build) -> None:
    made = predictor("TEST.AMP.ENABLED", "True")
    dtypes = []
    made.model.backbone.vit.neck[0].register_forward_hook(
        lambda module, args, output: dtypes.append(output.dtype)
    )
    AnnotationSession(made, image(72, 100), "tile.png")
    assert set(dtypes) == {torch.bfloat16}


def test_models_that_take_no_points_are_refused(predictor: Build, tmp_path: Path) -> None:
    overrides = [*TINY, "MODEL.META_ARCHITECTURE", "PromptLearner"]
    model = build_model(load_config(str(CONFIG), overrides))
    torch.save({"model": model.state_dict()}, tmp_path / "stage1.pth")
    stage1 = NucleusPredictor(CONFIG, tmp_path / "stage1.pth", overrides)
    with pytest.raises(UserError, match="of stage 1, which predicts points: take one of the whole"):
        AnnotationSession(stage1, image(72, 100), "tile.png")
    boxes = predictor()
    boxes.model.proposal_generator.proposes_boxes = True
    with pytest.raises(UserError, match="a click is no box"):
        AnnotationSession(boxes, image(72, 100), "tile.png")
