"""Windows over images with a network that knows the truth: each nucleus once, and whole."""

import numpy as np
import pytest
import torch

from cfrsam_d2.modeling.sliding_window import NucleusMasks, pad_for_encoder, segment_images

SETTINGS = {"window_size": 256, "overlap": 64, "edge_tolerance": 7, "windows_per_batch": 3}


class Oracle:
    """Gives each prompt the ground truth under it, as far as the window shows it.

    The images' third channel holds the nuclei's numbers. Scores are random: a cut mask may have a
    better score than the whole one. What the network was given is remembered.
    """

    def __init__(self) -> None:
        self.inputs = []
        self.prompts = []
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, images, points, prompt_image):
        self.inputs.append(tuple(images.shape))
        self.prompts.append(prompt_image.tolist())
        columns, rows = points.round().long().unbind(dim=1)
        labels = images[prompt_image, 2]  # (R, h, w)
        wanted = labels[torch.arange(len(points)), rows, columns]
        masks = (labels == wanted[:, None, None]) & (wanted[:, None, None] > 0)
        return masks, torch.rand(len(points), generator=self.generator)


def image_of(labels: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.zeros_like(labels), torch.zeros_like(labels), labels]).float()


def discs(height: int, width: int, radius: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A label map of discs of up to `radius` px around jittered grid points, and their centres."""
    rng = np.random.default_rng(0)
    labels, points = np.zeros((height, width), np.int64), []
    rows, columns = np.mgrid[:height, :width]
    for y in range(step // 2, height, step):
        for x in range(step // 2, width, step):
            r = rng.integers(3, radius, endpoint=True)
            room = max(step // 2 - r - 1, 0)
            centre = np.array([x, y]) + rng.integers(-room, room, 2, endpoint=True)
            inside = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2 <= r**2
            if 0 <= centre[0] < width and 0 <= centre[1] < height:
                points.append(centre)
                labels[inside] = len(points)
    return torch.from_numpy(labels), torch.from_numpy(np.array(points)).float()


def assert_each_once_and_whole(found: NucleusMasks, labels: torch.Tensor) -> None:
    """`found` has the nuclei 1, 2, … of the label map, in the order of the points."""
    count = int(labels.max())
    assert sorted(found.prompts.tolist()) == list(range(count))
    pasted = found.paste(*labels.shape)
    for prompt, mask, box in zip(found.prompts.tolist(), pasted, found.boxes, strict=True):
        assert torch.equal(mask, labels == prompt + 1)
        rows, columns = mask.nonzero().unbind(dim=1)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert (found.scores[:-1] >= found.scores[1:]).all()


@pytest.mark.parametrize(("radius", "step"), [(8, 20), (24, 52)])
def test_small_nuclei_are_found_once_and_whole(radius: int, step: int):
    """Nuclei of up to 49 px in an overlap of 64 with twice 7 px of tolerance."""
    labels, points = discs(600, 500, radius, step)
    oracle = Oracle()
    (found,) = segment_images(oracle, [image_of(labels)], [points], **SETTINGS)
    assert_each_once_and_whole(found, labels)
    assert all(shape[0] <= 3 and shape[1:] == (3, 256, 256) for shape in oracle.inputs)
    assert sum(shape[0] for shape in oracle.inputs) == 3 * 3


@pytest.mark.parametrize("x", range(186, 260, 5))
def test_the_largest_nucleus_that_the_overlap_holds(x: int):
    """50 px wide, everywhere around the seam."""
    labels = torch.zeros(100, 448, dtype=torch.int64)
    labels[20:60, x : x + 50] = 1
    points = torch.tensor([[x + 25.0, 40.0]])
    (found,) = segment_images(Oracle(), [image_of(labels)], [points], **SETTINGS)
    assert_each_once_and_whole(found, labels)


def test_boxes_move_with_their_windows_and_end_there():
    """Two windows, from 0 and from 192; a box is where its center is, and cut to the window."""
    seen = []

    def segment(images, prompts, prompt_image):
        seen.extend(zip(prompt_image.tolist(), prompts.tolist(), strict=True))
        masks = torch.zeros(len(prompts), *images.shape[-2:], dtype=torch.bool)
        masks[:, 40:60, 100:120] = True
        return masks, torch.ones(len(prompts))

    boxes = torch.tensor([
        [10.0, 20.0, 30.0, 40.0],
        [180.0, 5.0, 240.0, 35.0],  # center 210: both
        [240.0, 50.0, 280.0, 99.0],  # center 260: the second alone
        [100.0, 0.0, 300.0, 10.0],  # center 200: both, and larger than their overlap
    ])  # fmt: skip
    (found,) = segment_images(segment, [torch.zeros(3, 100, 448)], [boxes], **SETTINGS)
    assert seen == [
        (0, [10, 20, 30, 40]),
        (0, [180, 5, 240, 35]),
        (0, [100, 0, 255, 10]),
        (1, [0, 5, 48, 35]),
        (1, [48, 50, 88, 99]),
        (1, [0, 0, 108, 10]),
    ]
    assert sorted(found.prompts.tolist()) == [0, 1, 2, 3]


def test_masks_cut_by_every_window_are_dropped():
    labels = torch.zeros(100, 448, dtype=torch.int64)
    labels[20:60, 180:268] = 1
    labels[70:80, 10:20] = 2
    points = torch.tensor([[224.0, 40.0], [15.0, 75.0]])
    (found,) = segment_images(Oracle(), [image_of(labels)], [points], **SETTINGS)
    assert found.prompts.tolist() == [1]


def test_the_best_scored_mask_of_a_prompt_stays():
    """Two windows see the nucleus whole; the second one's answer is better and differs."""

    def segment(images, points, prompt_image):
        masks = torch.zeros(len(points), 256, 256, dtype=torch.bool)
        for mask, (x, y), image in zip(masks, points.long(), prompt_image, strict=True):
            mask[y : y + 3 + image, x : x + 3] = True
        return masks, 0.5 + 0.1 * prompt_image

    points = torch.tensor([[224.0, 40.0], [30.0, 40.0]])
    (found,) = segment_images(segment, [torch.zeros(3, 256, 448)], [points], **SETTINGS)
    assert found.prompts.tolist() == [0, 1]
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    assert found.boxes.tolist() == [[224, 40, 227, 44], [30, 40, 33, 43]]


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ((256, 256), (256, 256)),
        ((40, 30), (64, 64)),
        ((64, 65), (64, 80)),
        ((10, 200), (64, 208)),
        ((250, 241), (256, 256)),
    ],
)
def test_an_image_that_fits_is_segmented_at_once(size: tuple[int, int], padded: tuple[int, int]):
    labels, points = discs(*size, radius=4, step=12)
    oracle = Oracle()
    (found,) = segment_images(oracle, [image_of(labels)], [points], **SETTINGS)
    assert oracle.inputs == [(1, 3, *padded)]
    assert_each_once_and_whole(found, labels)


def test_masks_do_not_reach_into_the_padding():
    def everything(images, points, prompt_image):
        masks = torch.ones(len(points), *images.shape[-2:], dtype=torch.bool)
        return masks, torch.ones(len(points))

    points = torch.tensor([[3.0, 4.0]])
    (found,) = segment_images(everything, [torch.zeros(3, 40, 30)], [points], **SETTINGS)
    assert found.boxes.tolist() == [[0, 0, 30, 40]]
    assert found.paste(40, 30).shape == (1, 40, 30)


def test_images_of_all_sizes_share_calls_and_keep_their_nuclei():
    """Sizes in turn, with images without points between them."""
    sizes = [(300, 256), (60, 60), (256, 256), (70, 50), (256, 300), (60, 60), (80, 90)]
    given = [discs(*size, radius=6, step=20) for size in sizes]
    images = [image_of(labels) for labels, _ in given]
    points = [points for _, points in given]
    points[3] = points[6] = torch.zeros(0, 2)
    oracle = Oracle()
    found = segment_images(oracle, images, points, **SETTINGS)
    assert len(found) == len(sizes)
    for i, (labels, _) in enumerate(given):
        if i in (3, 6):
            assert len(found[i].prompts) == 0
            assert found[i].paste(*sizes[i]).shape == (0, *sizes[i])
        else:
            assert_each_once_and_whole(found[i], labels)
    # Two 60×60 images at once; five windows of 256 px, three at most at once.
    assert sorted(oracle.inputs) == [(2, 3, 64, 64), (2, 3, 256, 256), (3, 3, 256, 256)]
    assert all(prompts == sorted(prompts) for prompts in oracle.prompts)


def test_without_points_the_network_is_not_asked():
    oracle = Oracle()
    images = [torch.zeros(3, 300, 300), torch.zeros(3, 20, 20)]
    found = segment_images(oracle, images, [torch.zeros(0, 2)] * 2, **SETTINGS)
    assert oracle.inputs == []
    for each in found:
        assert (len(each.masks), len(each.prompts), len(each.scores)) == (0, 0, 0)
        assert each.boxes.shape == (0, 4)
    assert segment_images(oracle, [], [], **SETTINGS) == []


def test_masks_without_a_pixel_are_dropped():
    labels = torch.zeros(100, 100, dtype=torch.int64)
    labels[10:15, 20:25] = 1
    points = torch.tensor([[60.0, 60.0], [22.0, 12.0]])
    (found,) = segment_images(Oracle(), [image_of(labels)], [points], **SETTINGS)
    assert found.prompts.tolist() == [1]
    assert torch.equal(found.paste(100, 100)[0], labels == 1)


def test_boxes_of_half_precision_scores_are_exact():
    labels = torch.zeros(64, 2600, dtype=torch.int64)
    labels[10:15, 2501:2506] = 1

    def half(*args):
        masks, scores = Oracle()(*args)
        return masks, scores.half()

    points = torch.tensor([[2503.0, 12.0]])
    (found,) = segment_images(half, [image_of(labels)], [points], **SETTINGS)
    assert found.boxes.tolist() == [[2501, 10, 2506, 15]]


def test_padding_for_the_encoder():
    images = torch.randn(2, 3, 70, 33)
    padded = pad_for_encoder(images)
    assert padded.shape == (2, 3, 80, 64)
    assert torch.equal(padded[..., :70, :33], images)
    assert padded.sum() == pytest.approx(images.sum().item(), abs=1e-3)
    assert pad_for_encoder(torch.zeros(0, 16, 128, dtype=torch.bool)).shape == (0, 64, 128)
