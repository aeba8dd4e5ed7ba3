"""Masks averaged over flips and rotations: networks whose answers in each view are known."""

import pytest
import torch
from cfrsam_d2.modeling.boxes import mask_boxes
from cfrsam_d2.modeling.prompt_geometry import prompts_of_boxes
from cfrsam_d2.modeling.test_time_augmentation import VIEWS, View, segment_averaged
from detectron2.structures import Instances
from tiny_segmenter import GivenPoints, GridBoxes, random_image, tiny_cfrsam
from torch import Tensor

from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.sliding_window import segment_images

SURE = 100.0  # a logit whose probability is 1


@pytest.fixture(params=VIEWS, ids=str)
def view(request: pytest.FixtureRequest) -> View:
    return request.param


def test_the_views_are_the_flips_and_rotations():
    image = torch.arange(12).reshape(3, 4)
    seen = {tuple(map(tuple, view.of_maps(image).tolist())) for view in VIEWS}
    turned = [torch.rot90(each, turns) for each in (image, image.flip(1)) for turns in range(4)]
    assert seen == {tuple(map(tuple, each.tolist())) for each in turned}
    assert len(seen) == 8


def test_a_view_is_undone(view: View):
    maps = torch.randn(2, 3, 5, 7)
    assert view.of_maps(maps).shape == (2, 3, *((7, 5) if view.transposed else (5, 7)))
    assert torch.equal(view.undo(view.of_maps(maps)), maps)


def test_prompts_move_with_the_image(view: View):
    masks = torch.zeros(2, 20, 30, dtype=torch.bool)
    masks[0, 4, 25] = True
    masks[1, 3:18, 7:12] = True
    (point,) = view.of_prompts(torch.tensor([[25.0, 4.0]]), 20, 30).long()
    box = view.of_prompts(torch.tensor([[7.0, 3.0, 11.0, 17.0]]), 20, 30)
    turned = view.of_maps(masks)
    assert turned[0, point[1], point[0]]
    assert torch.equal(box, prompts_of_boxes(mask_boxes(turned[1:])).float())


class LabelOracle:
    """Gives each prompt the label under its point, one prompt a chunk; the same in every view."""

    def __init__(self) -> None:
        self.sizes = []

    def __call__(self, images: Tensor, prompts: Tensor, prompt_image: Tensor):
        self.sizes.append(tuple(images.shape[-2:]))
        columns, rows = prompts.round().long().unbind(dim=1)
        labels = images[prompt_image, 2]
        wanted = labels[torch.arange(len(prompts)), rows, columns]
        for i in range(len(prompts)):
            logits = torch.where(labels[i : i + 1] == wanted[i], SURE, -SURE)
            yield torch.tensor([i]), logits, wanted[i : i + 1] / 10


def test_a_network_without_orientation_gives_the_same_masks():
    """In a rectangular image of two windows, and a smaller one."""
    images = torch.zeros(3, 96, 200), torch.zeros(3, 64, 50)
    corners = [[(10, 20), (70, 60), (130, 40)], [(30, 5)]]
    prompts = []
    for image, own in zip(images, corners, strict=True):
        for label, (x, y) in enumerate(own, start=1):
            image[2, y : y + 10, x : x + 6] = label
        prompts.append(torch.tensor(own) + 3.0)
    oracle = LabelOracle()
    found = segment_images(
        lambda *inputs: segment_averaged(oracle, *inputs),
        list(images),
        prompts,
        window_size=128,
        overlap=64,
        edge_tolerance=3,
        windows_per_batch=4,
    )
    assert sorted(oracle.sizes) == 4 * [(64, 64)] * 2 + 4 * [(96, 128)] + 4 * [(128, 96)]
    for image, each in zip(images, found, strict=True):
        assert sorted(each.prompts.tolist()) == list(range(len(each.prompts)))
        for prompt, mask in zip(each.prompts.tolist(), each.paste(*image.shape[1:]), strict=True):
            assert torch.equal(mask, image[2] == prompt + 1)
        expected = [(prompt + 1) / 10 for prompt in each.prompts.tolist()]
        assert each.scores.tolist() == pytest.approx(expected)
    assert [len(each.prompts) for each in found] == [3, 1]


def test_masks_are_where_the_mean_probability_is_above_a_half():
    """A network that sees the upper three quarters: 4/8 in corners, 6/8 at edges, 1 inside."""

    def upper(images: Tensor, prompts: Tensor, prompt_image: Tensor):
        logits = torch.full((len(prompts), *images.shape[-2:]), -SURE)
        logits[:, : images.shape[-2] * 3 // 4] = SURE
        yield torch.arange(len(prompts)), logits, torch.ones(len(prompts))

    masks, _ = segment_averaged(
        upper, torch.zeros(1, 3, 64, 96), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    )
    expected = torch.ones(64, 96, dtype=torch.bool)
    for rows in (slice(0, 16), slice(48, 64)):
        for columns in (slice(0, 24), slice(72, 96)):
            expected[rows, columns] = False
    assert torch.equal(masks[0], expected)


@pytest.mark.parametrize(
    ("probabilities", "above"),
    [
        (3 * [0.95] + 5 * [0.3], True),  # 0.54, though most views say no
        ([0.999999] + 7 * [0.4], False),  # 0.48, though the mean logit is above 0
    ],
    ids=["votes", "logits"],
)
def test_probabilities_are_averaged_and_not_votes_or_logits(
    probabilities: list[float], above: bool
):
    answers = iter(torch.tensor(probabilities).logit().tolist())
    scores = iter(range(8))

    def predict(images: Tensor, prompts: Tensor, prompt_image: Tensor):
        yield (
            torch.tensor([0]),
            torch.full((1, 64, 64), next(answers)),
            torch.tensor([next(scores)]),
        )

    masks, score = segment_averaged(
        predict, torch.zeros(1, 3, 64, 64), torch.zeros(1, 2), torch.zeros(1, dtype=torch.long)
    )
    assert bool(masks.all()) == bool(masks.any()) == above
    assert score.tolist() == [3.5]


def turned_model(model: CFRSAM, view: View, height: int, width: int) -> CFRSAM:
    """The model with a learner that predicts the same prompts in a turned image."""
    learner = model.proposal_generator
    points = view.of_prompts(learner.points(0, height, width), height, width)
    learner.points = lambda *size: points
    return model


def nuclei_of(model: CFRSAM, image: Tensor) -> Instances:
    with torch.no_grad():
        return model.eval()([{"image": image}])[0]["instances"]


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
            head={"final_mask": "initial"},  # untrained, the refined ones are all empty
            nms_thresh=1.0,
            test_time_augmentation=augmented,
        )
        straight = nuclei_of(model, image)
        turned = nuclei_of(turned_model(model, view, height, width), view.of_maps(image))
        assert len(straight) == len(turned) == 2
        differing[augmented] = (view.of_maps(straight.pred_masks) != turned.pred_masks).float()
        if augmented:
            torch.testing.assert_close(straight.scores, turned.scores, atol=1e-5, rtol=1e-5)
    assert differing[True].mean() < 1e-3
    assert differing[False].mean() > 1e-2


def test_boxes_are_averaged_too():
    torch.manual_seed(0)
    model = tiny_cfrsam(GridBoxes(), nms_thresh=1.0, edge_tolerance=0, test_time_augmentation=True)
    nuclei = nuclei_of(model, random_image(64, 80))
    assert len(nuclei) > 0
    assert nuclei.pred_masks.shape == (len(nuclei), 64, 80)


def test_images_without_prompts():
    model = tiny_cfrsam(GivenPoints([]), test_time_augmentation=True)
    assert len(nuclei_of(model, random_image(40, 70))) == 0


def test_without_it_the_network_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    model = tiny_cfrsam()
    calls = []
    model.backbone.register_forward_hook(lambda module, inputs, outputs: calls.append(module))
    nuclei_of(model, random_image(64, 64))
    assert len(calls) == 1
    model.test_time_augmentation = True
    nuclei_of(model, random_image(64, 64))
    assert len(calls) == 1 + 8
