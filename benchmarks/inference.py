#!/usr/bin/env python
"""The whole of CFR-SAM beside its plain form: same weights, same run, medians, ratios.

    python benchmarks/inference.py [--models b h] [--runs 5] [--json]

Both stages on one image of 256×256 px with 25 nuclei, a training step of it, and the peak memory of
100 nuclei; weights are random and prompts known (`known_prompts.py`). Plain is what was published:
modules in plain form, nuclei refined at full frame, all prompts at once. bfloat16 is timed where
the processor has it. How much the masks of crops differ from those of the full frame, and from
those in bfloat16, is measured with the small model on real tissue. All of it takes about half an
hour on two cores.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from detectron2.config import CfgNode
from detectron2.structures import BitMasks, Instances
from known_prompts import discs, give_prompts, random_image, random_model, spread_points
from processes import peak_memory, run_apart
from tabulate import tabulate
from timing import check_count, has_bfloat16, median_seconds
from torch import Tensor

from cfrsam_d2.complexity import IMAGE_SIZE
from cfrsam_d2.data.image import read_rgb
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.errors import exits_on_user_error
from cfrsam_d2.model_zoo import SMALL_MODEL, get_config_file
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.plain import plain_form
from cfrsam_d2.modeling.precision import FLOAT32, Precision

ROOT = Path(__file__).resolve().parents[1]
REGION = ROOT / "datasets" / "example" / "cmu1_region.tif"
# Crops whose halo holds all that BGMR sees.
EXACT_CROPS = ["MODEL.MASK_HEAD.CROP_SIZES", "[64, 80, 96]", "MODEL.MASK_HEAD.CROP_HALO", "24"]
MIXED = Precision(mixed_in_training=True, mixed_in_inference=True)
# By what the names of their figures end with; bfloat16 where the processor has it.
PRECISIONS = {"": FLOAT32} | ({"_bfloat16": MIXED} if has_bfloat16() else {})
NUCLEI, NUCLEI_OF_MEMORY = 25, 100
ALL_AT_ONCE = 10**6  # prompts per chunk


@contextmanager
def plain(model: CFRSAM) -> Iterator[None]:
    """A context in which a model computes as it was published."""
    head = model.mask_head
    published = {"crop_sizes": [], "train_crop_sizes": [], "prompts_per_chunk": ALL_AT_ONCE}
    with (
        plain_form(model),
        patch.multiple(head, **published),
        patch.object(head.bgmr, "checkpoint_activations", False),
    ):
        yield


def config(name: str) -> CfgNode:
    # The true centroids prompt training: with random weights the learner finds none.
    overrides = ["MODEL.DEVICE", "cpu", "MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"]
    return load_config(str(ROOT / "configs" / f"cfrsam_{name}.yaml"), overrides)


def inference_of(name: str, count: int) -> tuple[CFRSAM, Callable[[], object]]:
    """A model, and what it does to find the nuclei of an image."""
    model, image = random_model(config(name)), random_image()
    give_prompts(model, count)
    return model, torch.no_grad()(lambda: model([{"image": image}]))


def training_step_of(name: str, count: int) -> tuple[CFRSAM, Callable[[], object]]:
    """A model, and a step of its training but for the optimiser."""
    model, points = random_model(config(name)).train(), spread_points(count)
    gt = Instances((IMAGE_SIZE, IMAGE_SIZE), gt_points=points, gt_masks=BitMasks(discs(points)))
    gt.gt_classes = torch.zeros(count, dtype=torch.int64)
    image = {"image": random_image(), "instances": gt}

    def step() -> None:
        torch.stack([*model([image]).values()]).sum().backward()
        model.zero_grad()

    return model, step


def compare(model: CFRSAM, work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of the plain form, and of the project's own in each of PRECISIONS."""
    with plain(model):
        seconds = [median_seconds(work, runs)]
    for model.precision in PRECISIONS.values():
        seconds.append(median_seconds(work, runs))
    return seconds


def memory(*, is_plain: bool) -> float:
    """GB that this process took to infer 100 nuclei with ViT-B, the model included."""
    model, work = inference_of("b", NUCLEI_OF_MEMORY)
    if is_plain:
        with plain(model):
            work()
    else:
        work()
    return peak_memory() / 2**30


@torch.no_grad()
def trained_ious() -> dict[str, Tensor]:
    """IoU of each mask of crops with that of the full frame and with that in bfloat16.

    Of the small model on a region of a slide, cut into images of 256×256 px.
    """
    model: CFRSAM = build_trained_model(
        load_config(get_config_file(SMALL_MODEL), ["MODEL.DEVICE", "cpu", *EXACT_CROPS])
    )
    region = torch.from_numpy(read_rgb(str(REGION))).permute(2, 0, 1)
    images = [part for row in region.split(IMAGE_SIZE, 1) for part in row.split(IMAGE_SIZE, 2)]
    pairs = [
        masks(model, model.normalize(image)[None], points)
        for image, points in zip(images, model.find_prompts(images), strict=True)
    ]
    crops, frames, mixed = (torch.cat(each) for each in zip(*pairs, strict=True))
    return {"full frame": iou(crops, frames), "bfloat16": iou(crops, mixed)}


def masks(model: CFRSAM, image: Tensor, points: Tensor) -> Iterator[Tensor]:
    """The masks of points on an image, (1, 3, H, W): of crops, full frames, crops in bfloat16."""
    head = model.mask_head
    crop_sizes = head.crop_sizes
    for precision, sizes in ((FLOAT32, crop_sizes), (FLOAT32, []), (MIXED, crop_sizes)):
        with (
            precision.context(image.device, training=False),
            patch.object(head, "crop_sizes", sizes),
        ):
            maps = model.encode(image)
            predictions = head.predict(maps, points, torch.zeros(len(points)).long())
        yield predictions.logits["refined"] > 0


def iou(masks: Tensor, others: Tensor) -> Tensor:
    """Of each mask (N, H, W) with its other; two without a pixel are left out."""
    union = (masks | others).sum(dim=(1, 2))
    return ((masks & others).sum(dim=(1, 2)) / union)[union > 0]


def report(models: list[str], runs: int, *, as_json: bool) -> None:
    # First: the peak of a process begins with that of the process that starts it.
    plain_gb, own_gb = (run_apart(memory, is_plain=each) for each in (True, False))
    rows: list[tuple] = [
        (f"memory, {NUCLEI_OF_MEMORY} nuclei, GB", plain_gb, own_gb, plain_gb / own_gb)
    ]
    figures = {"memory_ratio_100": own_gb / plain_gb}
    works = [(f"speedup_{name}", f"ViT-{name.upper()}, s", inference_of, name) for name in models]
    works.append(("train_step_speedup_b", "training step of ViT-B, s", training_step_of, "b"))
    for key, title, work_of, name in works:
        print(f"measuring {title.removesuffix(', s')}", file=sys.stderr, flush=True)
        plain_s, *others = compare(*work_of(name, NUCLEI), runs)
        row = [title, plain_s]
        for suffix, seconds in zip(PRECISIONS, others, strict=True):
            row += [seconds, plain_s / seconds]
            figures[key + suffix] = plain_s / seconds
        rows.append(tuple(row))
    ious = trained_ious()
    crops, mixed = ious["full frame"], ious["bfloat16"]
    figures |= {"mask_iou_mean": float(crops.mean()), "mask_iou_min": float(crops.min())}
    figures["mask_iou_mean_bfloat16"] = float(mixed.mean())
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    headers = ["", "plain", "ours", "ratio", "bfloat16", "ratio"]
    print(tabulate(rows, headers, floatfmt=".2f"))
    for other, values in ious.items():
        print(
            f"masks of crops and of {other}, {len(values)} nuclei, small model: "
            f"mean IoU {values.mean():.4f}, least {values.min():.4f}"
        )


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=("b", "h"), default=["b", "h"])
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    check_count("--runs", args.runs)
    report(args.models, args.runs, as_json=args.json)


if __name__ == "__main__":
    main()
