"""Stage 2 over windows: with a network that knows the truth, and with the model itself, by hand."""

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from label_oracle import LabelOracle, frames, image_of, oracle_model, proposals_at, segment
from scipy.ndimage import find_objects
from tiny_segmenter import GridBoxes, random_image, tiny_cfrsam, tiny_head
from torch import Tensor, nn

from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.sliding_window import SlidingWindow, prompts_in_window
from cfrsam_d2.structures.masks import BoxMasks
from cfrsam_d2.structures.prompts import prompts_of


def discs(height: int, width: int, radius: int, step: int) -> tuple[Tensor, Tensor]:
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


def find(oracle: LabelOracle, labels: Tensor, points: Tensor) -> Instances:
    """The nuclei of one image."""
    proposals = proposals_at(tuple(labels.shape), points)
    (found,) = segment(oracle_model(oracle), [image_of(labels)], [proposals])
    return found


def assert_each_once_and_whole(found: Instances, labels: Tensor) -> None:
    """`found` has the nuclei 1, 2, … of the label map, in the order of the points."""
    order = found.pred_classes
    assert sorted(order.tolist()) == list(range(int(labels.max())))
    assert torch.equal(found.pred_masks.areas(), labels.flatten().bincount()[1:][order])
    numbers = torch.cat([order.new_zeros(1), order + 1])
    assert torch.equal(numbers[found.pred_masks.label_map().long()], labels)
    boxes = [(x.start, y.start, x.stop, y.stop) for y, x in find_objects(labels.numpy())]
    assert torch.equal(found.pred_boxes.tensor, torch.tensor(boxes)[order].float())
    assert (found.scores[:-1] >= found.scores[1:]).all()


def test_small_nuclei_are_found_once_and_whole():
    """Nuclei of up to 49 px in an overlap of 64 with twice 7 px of tolerance.

    Scores are random: a mask that is cut off may have a better one than the whole.
    """
    for radius, step in [(8, 20), (24, 52)]:
        labels, points = discs(600, 500, radius, step)
        oracle = LabelOracle()
        found = find(oracle, labels, points)
        assert_each_once_and_whole(found, labels)
        assert torch.equal(found.pred_points, points[found.pred_classes])
        assert oracle.inputs == 3 * [(3, 3, 256, 256)]


def test_the_largest_nucleus_that_the_overlap_holds():
    """50 px wide, everywhere around the seam."""
    for x in range(186, 260, 5):
        labels = torch.zeros(100, 448, dtype=torch.int64)
        labels[20:60, x : x + 50] = 1
        assert_each_once_and_whole(
            find(LabelOracle(), labels, torch.tensor([[x + 25.0, 40.0]])), labels
        )


def test_frames_of_a_large_window_find_what_small_windows_find():
    """Each nucleus of up to 114 px once and whole, decoded in the frame where it lies deepest."""
    for radius, step in [(8, 20), (57, 120)]:
        labels, points = discs(600, 500, radius, step)
        oracle = LabelOracle()
        model = oracle_model(oracle, sliding_window=SlidingWindow(1024, 64, edge_tolerance=7))
        proposals = proposals_at((600, 500), points)
        (found,) = segment(model, [image_of(labels)], [proposals])
        assert_each_once_and_whole(found, labels)
        assert oracle.inputs == [(1, 3, 608, 512)]
        assert len(oracle.prompts) == len(points)
        assert max(max(prompt) for prompt in oracle.prompts) < 256


def test_masks_that_every_window_cuts_off_are_dropped():
    labels = torch.zeros(100, 448, dtype=torch.int64)
    labels[20:60, 180:268] = 1
    labels[70:80, 10:20] = 2
    found = find(LabelOracle(), labels, torch.tensor([[224.0, 40.0], [15.0, 75.0]]))
    assert found.pred_classes.tolist() == [1]


def test_masks_without_a_pixel_are_dropped():
    labels = torch.zeros(100, 100, dtype=torch.int64)
    labels[10:15, 20:25] = 1
    found = find(LabelOracle(), labels, torch.tensor([[60.0, 60.0], [22.0, 12.0]]))
    assert found.pred_classes.tolist() == [1]
    assert torch.equal(frames(found)[0], labels == 1)


def test_prompts_move_with_their_windows():
    """Two windows, from 0 and from 192; a box is where its center is, and cut to the window.

    As published both decode what lies in both; without repeated prompts the one in whose half of
    the overlap it lies, from 224 on the second.
    """
    boxes = torch.tensor([
        [10.0, 20.0, 30.0, 40.0],
        [180.0, 5.0, 240.0, 35.0],  # center 210: both
        [240.0, 50.0, 280.0, 99.0],  # center 260: the second alone
        [100.0, 0.0, 300.0, 10.0],  # center 200: both, and larger than their overlap
    ])  # fmt: skip
    ends = boxes + torch.tensor([0, 0, 1, 1])
    proposals = proposals_at((100, 448), torch.zeros(4, 2), proposal_boxes=Boxes(ends))
    image = torch.ones(3, 100, 448)  # one nucleus everywhere, so that all masks are cut off
    first = [[10, 20, 30, 40], [180, 5, 240, 35], [100, 0, 255, 10]]
    second = [[0, 5, 48, 35], [48, 50, 88, 99], [0, 0, 108, 10]]
    for repeats, expected in [(True, [*first, *second]), (False, [*first, second[1]])]:
        oracle = LabelOracle()
        window = SlidingWindow(256, 64, edge_tolerance=7, repeat_prompts=repeats)
        model = oracle_model(oracle, sliding_window=window)
        (found,) = segment(model, [image], [proposals])
        assert len(found) == 0
        assert oracle.prompts == expected


class WindowTeller(LabelOracle):
    """Gives each prompt 3×3 px, one row more and a better score in the second window."""

    def inference(self, maps, prompts, prompt_image):
        masks = torch.zeros(len(prompts), *maps.frame_size, dtype=torch.bool)
        is_second = int(maps.embeddings.any())
        for mask, (x, y) in zip(masks, prompts.long(), strict=True):
            mask[y : y + 3 + is_second, x : x + 3] = True
        return masks, torch.full((len(prompts),), 0.5 + 0.1 * is_second), None


def test_the_best_scored_mask_of_a_prompt_stays():
    """Two windows see the nucleus whole; the second one's answer is better and differs."""
    image = torch.zeros(3, 256, 448)
    image[:, :, 256:] = 1  # the second window alone sees it
    proposals = proposals_at((256, 448), torch.tensor([[30.0, 40.0], [215.0, 40.0]]))
    window = SlidingWindow(256, 64, edge_tolerance=7, repeat_prompts=True)
    model = oracle_model(WindowTeller(), sliding_window=window)
    (found,) = segment(model, [image], [proposals])
    assert found.pred_classes.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])
    assert found.pred_boxes.tensor.tolist() == [[215, 40, 218, 44], [30, 40, 33, 43]]


def test_an_image_that_fits_is_segmented_at_once():
    """Padded to multiples of 16 px; no mask reaches into the padding."""
    for size, padded in {
        (256, 256): (256, 256),
        (40, 30): (48, 32),
        (64, 65): (64, 80),
        (10, 200): (16, 208),
    }.items():
        labels, points = discs(*size, radius=4, step=12)
        oracle = LabelOracle()
        assert_each_once_and_whole(find(oracle, labels, points), labels)
        assert oracle.inputs == [(1, 3, *padded)]
        (everything,) = segment(
            oracle_model(Everything()), [image_of(labels)], [proposals_at(size, points[:1])]
        )
        assert frames(everything).shape == (1, *size)
        assert frames(everything).all()


class Everything(LabelOracle):
    """Gives each prompt all pixels, those of the padding included."""

    def inference(self, maps, prompts, prompt_image):
        masks = torch.ones(len(prompts), *maps.frame_size, dtype=torch.bool)
        return masks, torch.ones(len(prompts)), None


def test_images_of_all_sizes_share_calls_and_keep_their_nuclei():
    """Sizes in turn, with images without proposals between them."""
    sizes = [(300, 256), (60, 60), (256, 256), (70, 50), (256, 300), (60, 60), (80, 90)]
    given = [discs(*size, radius=6, step=20) for size in sizes]
    proposals = [proposals_at(*each) for each in zip(sizes, (p for _, p in given), strict=True)]
    for i in (3, 6):
        proposals[i] = proposals[i][:0]
    oracle = LabelOracle()
    found = segment(oracle_model(oracle), [image_of(labels) for labels, _ in given], proposals)
    assert len(found) == len(sizes)
    for i, (labels, _) in enumerate(given):
        assert found[i].image_size == sizes[i]
        if i in (3, 6):
            assert len(found[i]) == 0
        else:
            assert_each_once_and_whole(found[i], labels)
    # Two 60×60 images at once; five windows of 256 px, three at most at once.
    assert oracle.inputs == [(3, 3, 256, 256), (2, 3, 256, 256), (2, 3, 64, 64)]


def test_without_proposals_the_network_is_not_asked():
    oracle, sizes = LabelOracle(), [(300, 300), (20, 20)]
    proposals = [proposals_at(size, torch.zeros(0, 2)) for size in sizes]
    model = oracle_model(oracle)
    found = segment(model, [torch.zeros(3, *size) for size in sizes], proposals)
    assert oracle.inputs == []
    for each, size in zip(found, sizes, strict=True):
        assert each.pred_masks.image_size == each.image_size == size
        assert each.pred_points.shape == (0, 2)
        assert each.pred_boxes.tensor.shape == (0, 4)
        assert each.pred_classes.dtype == torch.int64
        assert {len(value) for value in each.get_fields().values()} == {0}
    assert segment(model, [], []) == []


def test_boxes_of_half_precision_scores_are_exact():
    labels = torch.zeros(64, 2600, dtype=torch.int64)
    labels[10:15, 2501:2506] = 1
    oracle = LabelOracle(score=lambda numbers: torch.rand_like(numbers).half())
    found = find(oracle, labels, torch.tensor([[2503.0, 12.0]]))
    assert found.pred_boxes.tensor.tolist() == [[2501, 10, 2506, 15]]


def test_nuclei_cost_their_boxes_and_not_the_image():
    """Every number that is kept is counted, also what a view would keep of a larger tensor."""
    labels, points = discs(300, 400, radius=8, step=20)
    found = find(LabelOracle(), labels, points)
    assert len(found) == 300
    masks = found.pred_masks
    tensors = {
        *(value for value in found.get_fields().values() if isinstance(value, Tensor)),
        *(found.pred_boxes.tensor, masks.boxes, masks.pixels),
    }
    assert len(tensors) == len(found.get_fields()) + 1  # two of `pred_masks`, one of each other
    kept = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
    assert kept < 300 * (17 * 17 + 100)  # bytes; frames would take 300·300·400


def by_hand(model: CFRSAM, image: Tensor, proposals: Instances) -> Instances:
    """The nuclei of one image, window after window, in frames of the whole image."""
    height, width = image.shape[1:]
    best: dict[int, tuple[float, Tensor]] = {}
    for window in model.sliding_window.windows(0, height, width):
        rows, columns = slice(window.y0, window.y1), slice(window.x0, window.x1)
        indices, prompts = prompts_in_window(prompts_of(proposals), window)
        maps = model.encode(image[None, :, rows, columns])
        masks, scores, _ = model.mask_head.inference(maps, prompts, torch.zeros_like(indices))
        for index, mask, score in zip(indices.tolist(), masks, scores.tolist(), strict=True):
            if mask.any() and (index not in best or score > best[index][0]):
                frame = torch.zeros(height, width, dtype=torch.bool)
                frame[rows, columns] = mask
                best[index] = score, frame
    order = sorted(best, key=lambda index: -best[index][0])
    masks = BoxMasks.from_frames(torch.stack([best[index][1] for index in order]))
    return Instances(
        (height, width),
        pred_points=proposals.proposal_points[order],
        pred_masks=masks,
        pred_boxes=masks.get_bounding_boxes(),
        pred_classes=proposals.proposal_classes[order],
        scores=torch.tensor([best[index][0] for index in order]),
    )


def assert_same(ours: Instances, theirs: Instances) -> None:
    assert len(ours) == len(theirs) > 0
    assert ours.image_size == theirs.image_size
    assert torch.equal(ours.pred_points, theirs.pred_points)
    assert torch.equal(ours.pred_classes, theirs.pred_classes)
    torch.testing.assert_close(ours.scores, theirs.scores, atol=1e-5, rtol=1e-5)
    # Logits that are 0 but for rounding may fall to either side.
    assert (frames(ours) != frames(theirs)).float().mean() < 1e-3
    assert 0.01 < frames(ours).float().mean() < 0.99


def model_of_small_windows(learner: nn.Module | None = None) -> CFRSAM:
    """Whose masks are the decoder's: untrained, refinement gives no pixel or all."""
    # Nothing is cut off.
    window = SlidingWindow(64, 24, edge_tolerance=-1, batch=4, repeat_prompts=True)
    head = tiny_head(final_mask="initial")
    return tiny_cfrsam(learner, head, nms_thresh=1.0, sliding_window=window).eval()


@torch.no_grad()
def test_windows_give_what_each_of_them_gives_by_hand():
    """Of points and of boxes, in the coordinates of their images."""
    for learner in (None, GridBoxes()):
        model = model_of_small_windows(learner)
        images = [model.normalize(random_image(*size)) for size in [(64, 104), (112, 80)]]
        proposals = model.propose(images)
        found = segment(model, images, proposals)
        for image, proposal, nuclei in zip(images, proposals, found, strict=True):
            assert_same(nuclei, by_hand(model, image, proposal))


@torch.no_grad()
def test_inference_is_segment_and_then_nms():
    model = model_of_small_windows()
    images = [model.normalize(random_image(*size)) for size in [(64, 104), (64, 64)]]
    every = model.segment(model.encode_windows(images), model.propose(images))
    for ours, theirs in zip(every, model.inference(images), strict=True):
        assert_same(ours, theirs)
    model.nms_thresh = 0.5
    for before, after in zip(every, model.inference(images), strict=True):
        assert len(after) < len(before)
        assert {*after.scores.tolist()} < {*before.scores.tolist()}


@torch.no_grad()
def test_encoded_once_images_are_prompted_often():
    """As all prompts at once: one after the other, each is an `Instances` of one point."""
    model = model_of_small_windows()
    images = [model.normalize(random_image(64, 104))]
    (proposals,) = model.propose(images)
    windows = list(model.encode_windows(images))
    (at_once,) = model.segment(windows, [proposals])
    model.backbone.register_forward_hook(lambda *_: pytest.fail("encoded again"))
    one_by_one = [model.segment(windows, [proposals[i]])[0] for i in range(len(proposals))]
    assert sum(map(len, one_by_one)) == len(at_once) > 1
    by_point = {tuple(each.pred_points[0].tolist()): each for each in one_by_one if len(each)}
    for i, point in enumerate(at_once.pred_points.tolist()):
        assert_same(by_point[tuple(point)], at_once[i])


@torch.no_grad()
def test_how_many_prompts_at_once_changes_nothing():
    model = model_of_small_windows()
    images = [model.normalize(random_image(64, 64))]
    (at_once,) = model.inference(images)
    model.mask_head.prompts_per_chunk = 2
    (in_chunks,) = model.inference(images)
    assert len(at_once) == 9
    assert_same(in_chunks, at_once)
