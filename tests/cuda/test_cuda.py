"""All that concerns a device: `make test-cuda`.

The imported tests are those of the CPU, here on CUDA: within 1e-3 of the published numbers in
float32, and in mixed precision within the bounds of `test_precision`.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import test_train_net
import torch
from detectron2.structures import Instances
from test_plain import (  # noqa: F401
    model,
    test_every_module_of_two_forms_gives_the_same_in_both,
    test_same_gradients_of_the_nuclei,
    test_same_masks_as_in_plain_form_at_full_frame,
)
from test_precision import (  # noqa: F401
    CPU,
    MIXED,
    test_losses_are_float32_and_nearly_the_same,
    test_predictions_are_float32_and_nearly_the_same,
    test_the_whole_model_infers_in_mixed_precision,
)
from test_published_parity import (  # noqa: F401
    published,
    test_bgmr,
    test_hmfm,
    test_mala,
    test_stage1,
    test_stage1_matching_and_losses,
    test_stage2,
    test_stage2_losses,
)
from test_train_net import options, tiles  # noqa: F401
from tiny_segmenter import encode, random_image, tiny_cfrsam, tiny_head
from torch import Tensor

import train_net
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.postprocessing import rescale_to_input
from cfrsam_d2.modeling.precision import FLOAT32, Precision
from cfrsam_d2.structures.masks import BoxMasks

if not torch.cuda.is_available():
    pytest.skip("there is no CUDA device", allow_module_level=True)

SIZE = (128, 128)  # one window
MOST_WAITS_PER_CHUNK = 100
TINY_SEGMENTER = {
    "MODEL__SAM__EMBED_DIM": 48,
    "MODEL__SAM__ADAPTER_RANK": 8,
    "MODEL__PROMPT_LEARNER__SUPPRESSION_RADIUS": 24.0,
}


def assert_runs(options: Callable[..., list[str]], output: Path, **keys: object) -> None:  # noqa: F811
    """Training, its evaluation again, and training resumed; scores as text, where NaN is NaN."""
    scores = output / "inference" / "custom_test" / "metrics.json"
    train_net.main(options(OUTPUT_DIR=output, **keys))
    trained = scores.read_text()
    scores.unlink()
    train_net.main(options("--eval-only", OUTPUT_DIR=output, **keys))
    assert scores.read_text() == trained
    train_net.main(options("--resume", OUTPUT_DIR=output, **{**keys, "SOLVER__MAX_ITER": 5}))
    lines = (output / "metrics.json").read_text().splitlines()
    assert [json.loads(line)["iteration"] for line in lines] == [2, 4]


def test_both_stages_train_resume_and_evaluate(
    options: Callable[..., list[str]],  # noqa: F811
    tmp_path: Path,
) -> None:
    for name, mixed in (("exact", False), ("mixed", True)):
        precision = {"SOLVER__AMP__ENABLED": mixed, "TEST__AMP__ENABLED": mixed}
        learner = tmp_path / name / "prompt_learner"
        assert_runs(options, learner, **precision)
        weights = {"MODEL__CFRSAM__PROMPT_LEARNER_WEIGHTS": learner / "model_final.pth"}
        keys = {**precision, **weights, **TINY_SEGMENTER}
        assert_runs(options, tmp_path / name / "cfrsam", stage="cfrsam", **keys)


def test_two_processes_with_nccl(
    options: Callable[..., list[str]],  # noqa: F811
    tmp_path: Path,
    device: torch.device,
) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("there are no two GPUs")
    test_train_net.test_two_processes(options, tmp_path, device)


def segmenter(device: torch.device, prompts_per_chunk: int = 16) -> CFRSAM:
    """Untrained, refining in crops; nuclei may lie on each other."""
    head = tiny_head(crop_sizes=(40, 96), prompts_per_chunk=prompts_per_chunk)
    return tiny_cfrsam(mask_head=head, nms_thresh=1.0).eval().to(device)


def known_proposals(count: int, device: torch.device) -> Instances:
    """Four places in turn, so that the crops of any four have the same sizes."""
    places = torch.tensor([[20.0, 30.0], [90.0, 25.0], [40.0, 100.0], [100.0, 90.0]], device=device)
    steps = torch.arange(count, device=device)
    return Instances(
        SIZE,
        proposal_points=places[steps % len(places)],
        proposal_classes=steps % 3,
        proposal_scores=torch.ones(count, device=device),
    )


@torch.no_grad()
def find_nuclei(model: CFRSAM, image: Tensor, proposals: Instances) -> Instances:  # noqa: F811
    """In the image, and then in twice its size."""
    images = [model.normalize(image)]
    (nuclei,) = model.find_nuclei([proposals], model.encode_windows(images, [proposals]))
    return rescale_to_input(nuclei, {"height": 2 * SIZE[0], "width": 2 * SIZE[1]}).to("cpu")


def waits(model: CFRSAM, image: Tensor, proposals: Instances) -> Counter:  # noqa: F811
    """How often each line of code lets the CPU wait for the device, as every transfer does."""
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            find_nuclei(model, image, proposals)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return Counter(
        f"{each.filename}:{each.lineno}" for each in caught if "synchroniz" in str(each.message)
    )


def test_no_transfer_per_nucleus(device: torch.device) -> None:
    """64 prompts of one chunk wait as often as 4, and every chunk more as often as another."""
    image = random_image(*SIZE).to(device)
    whole, chunked = segmenter(device, prompts_per_chunk=64), segmenter(device, prompts_per_chunk=4)
    chunked.load_state_dict(whole.state_dict())
    four, eight, many = (known_proposals(count, device) for count in (4, 8, 64))
    assert len(find_nuclei(whole, image, many)) == 64  # and makes what is made once

    expected = waits(whole, image, four)
    assert expected.total() > 0
    actual = waits(whole, image, many)
    assert actual == expected, actual - expected

    per_chunk = waits(chunked, image, eight) - expected
    assert per_chunk.total() <= MOST_WAITS_PER_CHUNK, per_chunk
    actual = waits(chunked, image, many) - expected
    assert actual == Counter({line: 15 * count for line, count in per_chunk.items()})


def test_masks_on_the_device_are_those_of_the_cpu(device: torch.device) -> None:
    frames = torch.rand(20, *SIZE) > 0.999
    frames[3] = False
    masks, order = BoxMasks.from_frames(frames), torch.randperm(20)
    on_device = BoxMasks.from_frames(frames.to(device))
    operations: dict[str, Callable[[BoxMasks], object]] = {
        "boxes": lambda each: each.boxes,
        "pixels": lambda each: each.pixels,
        "areas": BoxMasks.areas,
        "nonempty": BoxMasks.nonempty,
        "centroids": lambda each: each.centroids().nan_to_num(-1.0),
        "get_bounding_boxes": lambda each: each.get_bounding_boxes().tensor,
        "label_map": BoxMasks.label_map,
        "label_map in order": lambda each: each.label_map(order.to(each.device)),
        "to_bitmasks": lambda each: each.to_bitmasks().tensor,
        "index": lambda each: each[order.to(each.device)].pixels,
        "slice": lambda each: each[2:9].pixels,
        "bool": lambda each: each[each.areas() > 10].pixels,
        "cat": lambda each: BoxMasks.cat([each, each[:3]]).pixels,
        "rescaled": lambda each: each.rescaled((200, 150)).pixels,
        "rescaled boxes": lambda each: each.rescaled((70, 300)).boxes,
    }
    for name, operation in operations.items():
        actual = operation(on_device)
        assert actual.device.type == device.type, name
        assert torch.equal(actual.cpu(), operation(masks)), name
    for ours, theirs in zip(on_device, masks, strict=True):
        assert ours.box == theirs.box
        assert (ours.pixels == theirs.pixels).all()
    for ours, theirs in zip(on_device.indices(), masks.indices(), strict=True):
        assert (ours == theirs).all()


@torch.no_grad()
def logits(model: CFRSAM, image: Tensor, precision: Precision) -> dict[str, Tensor]:  # noqa: F811
    """Of the initial and the refined masks, on the CPU."""
    points = known_proposals(4, model.device).proposal_points
    with precision.context(model.device, training=False):
        maps = encode(model, image)
        predicted = model.mask_head.predict(maps, points, points.new_zeros(4).long())
    return {name: each.cpu() for name, each in predicted.logits.items()}


def test_masks_are_those_of_the_cpu(device: torch.device) -> None:
    """Mean IoU at least 0.999 in float32 and 0.85 in mixed precision.

    Untrained masks are empty or full, so a mask is here what lies above the mean of the CPU's
    logits, where most of them are: a trained model's differ less.
    """
    cpu, on_device, image = segmenter(CPU), segmenter(device), random_image(*SIZE)
    on_device.load_state_dict(cpu.state_dict())
    for precision, least in ((FLOAT32, 0.999), (MIXED, 0.85)):
        actual, expected = logits(on_device, image, precision), logits(cpu, image, FLOAT32)
        for name in ("initial", "refined"):
            middle = expected[name].mean(dim=(1, 2), keepdim=True)
            ours, theirs = actual[name] > middle, expected[name] > middle
            iou = (ours & theirs).sum(dim=(1, 2)) / (ours | theirs).sum(dim=(1, 2))
            assert iou.mean() >= least, (name, precision, iou)
