"""Masks averaged over flips and rotations: networks whose answers in each view are known."""

from collections.abc import Iterator

import pytest
import torch
from label_oracle import (
    SURE,
    LabelOracle,
    frames,
    image_of,
    oracle_model,
    proposals_at,
    segment,
)
from tiny_segmenter import (
    GivenPoints,
    GridBoxes,
    nuclei_of,
    random_image,
    tiny_cfrsam,
    tiny_head,
)
from torch import Tensor

from cfrsam_d2.modeling.mask_head import ImageMaps
from cfrsam_d2.modeling.mask_head.head import DecodedPrompts, MaskPredictions
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.meta_arch.test_time_augmentation import average_views, encode_views
from cfrsam_d2.modeling.sliding_window import SlidingWindow
from cfrsam_d2.modeling.views import VIEWS, View
from cfrsam_d2.structures.masks import mask_boxes
from cfrsam_d2.structures.prompts import beside, box_prompts


def test_the_views_are_the_flips_and_rotations():
    image = torch.arange(12).reshape(3, 4)
    seen = {tuple(map(tuple, view.of_maps(image).tolist())) for view in VIEWS}
    turned = [torch.rot90(each, turns) for each in (image, image.flip(1)) for turns in range(4)]
    assert seen == {tuple(map(tuple, each.tolist())) for each in turned}
    assert len(seen) == 8


def test_a_view_is_undone():
    maps = torch.randn(2, 3, 5, 7)
    for view in VIEWS:
        assert view.of_maps(maps).shape == (2, 3, *((7, 5) if view.transposed else (5, 7)))
        assert torch.equal(view.undo(view.of_maps(maps)), maps)
        x0, y0, x1, y1 = view.of_box((1, 2, 4, 4), 5, 7)
        of_box = view.of_maps(maps)[..., y0:y1, x0:x1]
        assert torch.equal(view.undo(of_box), maps[..., 2:4, 1:4])


def test_prompts_move_with_the_image():
    masks = torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[0, 4, 25] = True
    masks[1, 3:18, 7:12] = True
    for view in VIEWS:
        point = view.of_prompts(torch.tensor([[25.0, 4.0]]), 20, 30)
        box = view.of_prompts(torch.tensor([[7.0, 3.0, 11.0, 17.0]]), 20, 30)
        both = view.of_prompts(torch.tensor([[25.0, 4.0, 7.0, 3.0, 11.0, 17.0]]), 20, 30)
        turned = view.of_maps(masks)
        column, row = point[0].long()
        assert turned[0, row, column]
        assert torch.equal(box, box_prompts(mask_boxes(turned[1:])).float())
        assert torch.equal(both, beside(point, box))


def test_points_keep_their_negative_ones():
    points = torch.rand(3, 2) * 20
    negatives = torch.tensor([[[5.0, 9.0], [torch.nan, torch.nan]]]).expand(3, 2, 2)
    for view in VIEWS:
        turned = view.of_prompts(torch.cat([points[:, None], negatives], dim=1), 20, 30)
        assert torch.equal(turned[:, 0], view.of_prompts(points, 20, 30))
        assert torch.equal(turned[:, 1], view.of_prompts(negatives[:, 0], 20, 30))
        assert turned[:, 2].isnan().all()


def test_a_network_without_orientation_gives_the_same_masks():
    """In a rectangular image of three windows, and a smaller one."""
    labels = torch.zeros(96, 200), torch.zeros(64, 50)
    corners = [[(10, 20), (70, 60), (130, 40)], [(30, 5)]]
    for image, own in zip(labels, corners, strict=True):
        for label, (x, y) in enumerate(own, start=1):
            image[y : y + 10, x : x + 6] = label
    oracle = LabelOracle(score=lambda numbers: numbers / 10)
    window = SlidingWindow(128, 64, edge_tolerance=3, batch=4, repeat_prompts=True)
    model = oracle_model(oracle, sliding_window=window, test_time_augmentation=True)
    proposals = [
        proposals_at(tuple(image.shape), torch.tensor(own) + 3.0)
        for image, own in zip(labels, corners, strict=True)
    ]
    found = segment(model, [image_of(each) for each in labels], proposals)
    assert oracle.inputs == [
        *4 * [(3, 3, 96, 128)], *4 * [(3, 3, 128, 96)], *8 * [(1, 3, 64, 64)]
    ]  # fmt: skip
    for image, each, count in zip(labels, found, (3, 1), strict=True):
        assert sorted(each.pred_classes.tolist()) == list(range(count))
        for prompt, mask in zip(each.pred_classes.tolist(), frames(each), strict=True):
            assert torch.equal(mask, image == prompt + 1)
        torch.testing.assert_close(each.scores, (each.pred_classes + 1) / 10)


class Saying:
    """A mask head whose answers to one prompt are given: logits (h, w) and a score per view."""

    final_mask = "initial"

    def __init__(self, answers: Iterator[tuple[Tensor, float]]) -> None:
        self.answers = answers

    def predict(self, maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> MaskPredictions:
        logits, score = next(self.answers)
        decoded = DecodedPrompts(logits[None], torch.tensor([score]), logits[None])
        return MaskPredictions(decoded, {"initial": logits.expand(1, *maps.frame_size)})


def average(answers: Iterator[tuple[Tensor, float]], height: int, width: int):
    """The mask (height, width) and the score that these answers give."""
    maps = encode_views(
        lambda images: ImageMaps(tuple(images.shape[-2:]), images), torch.zeros(1, 3, height, width)
    )
    one = torch.zeros(1, dtype=torch.long)
    masks, scores, _ = average_views(Saying(answers), maps, torch.zeros(1, 2), one)
    return masks[0], scores.item()


def test_masks_are_where_the_mean_probability_is_above_a_half():
    """A network that sees the upper three quarters: 4/8 in corners, 6/8 at edges, 1 inside."""

    def upper(view: View) -> Tensor:
        logits = torch.full((96, 64) if view.transposed else (64, 96), -SURE)
        logits[: len(logits) * 3 // 4] = SURE
        return logits

    mask, _ = average(((upper(view), 1.0) for view in VIEWS), 64, 96)
    expected = torch.ones(64, 96, dtype=torch.bool)
    for rows in (slice(0, 16), slice(48, 64)):
        for columns in (slice(0, 24), slice(72, 96)):
            expected[rows, columns] = False
    assert torch.equal(mask, expected)


def test_probabilities_are_averaged_and_not_votes_or_logits():
    for probabilities, above in [
        (3 * [0.95] + 5 * [0.3], True),  # 0.54, though most views say no
        ([0.999999] + 7 * [0.4], False),  # 0.48, though the mean logit is above 0
    ]:
        logits = torch.tensor(probabilities).logit()
        mask, score = average(zip(logits, map(float, range(8)), strict=True), 64, 64)
        assert bool(mask.all()) == bool(mask.any()) == above
        assert score == 3.5


def turned_model(model: CFRSAM, view: View, height: int, width: int) -> CFRSAM:
    """The model with a learner that predicts the same prompts in a turned image."""
    learner = model.proposal_generator
    points = view.of_prompts(learner.points(0, height, width), height, width)
    learner.points = lambda *size: points
    return model


@pytest.mark.parametrize("view", [VIEWS[1], VIEWS[6]], ids=str)
def test_the_whole_model_becomes_one_without_orientation(view: View):
    """The nuclei of a turned image are the turned nuclei; without averaging they are not."""
    height, width = 64, 96
    image = random_image(height, width)
    differing = {}
    for augmented in (True, False):
        torch.manual_seed(0)
        model = tiny_cfrsam(
            GivenPoints([(20.0, 30.0), (71.0, 12.0)]),
            tiny_head(final_mask="initial"),  # untrained, the refined ones are all empty
            nms_thresh=1.0,
            test_time_augmentation=augmented,
        )
        straight = nuclei_of(model, image)
        turned = nuclei_of(turned_model(model, view, height, width), view.of_maps(image))
        assert len(straight) == len(turned) == 2
        differing[augmented] = (view.of_maps(frames(straight)) != frames(turned)).float()
        if augmented:
            torch.testing.assert_close(straight.scores, turned.scores, atol=1e-5, rtol=1e-5)
    assert differing[True].mean() < 1e-3
    assert differing[False].mean() > 1e-2


def test_boxes_are_averaged_too():
    head = tiny_head(final_mask="initial")
    model = tiny_cfrsam(GridBoxes(), head, nms_thresh=1.0, test_time_augmentation=True)
    for model.box_beside_point in (False, True):
        nuclei = nuclei_of(model, random_image(64, 80))
        assert len(nuclei) == 9  # 3 by 3
        assert nuclei.pred_masks.image_size == (64, 80)


def test_images_without_prompts():
    model = tiny_cfrsam(GivenPoints([]), test_time_augmentation=True)
    assert len(nuclei_of(model, random_image(40, 70))) == 0


def test_without_it_the_network_is_asked_once():
    model = tiny_cfrsam()
    calls = []
    model.backbone.register_forward_hook(lambda module, inputs, outputs: calls.append(module))
    nuclei_of(model, random_image(64, 64))
    assert len(calls) == 1
    model.test_time_augmentation = True
    nuclei_of(model, random_image(64, 64))
    assert len(calls) == 1 + 8
