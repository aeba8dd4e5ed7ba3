#!/usr/bin/env python
"""The whole of CFR-SAM beside its plain formulation: same weights, same run, medians, ratios.

    python benchmarks/inference.py [--models b h] [--runs 5] [--json]

Both stages on one image of 256×256 px with 25 nuclei (points and crops of nuclei of 20 px, since
weights are random), a training step of stage 2, and the peak memory of 100 nuclei. How much masks
from crops differ from those of the full frame is measured with the quick start's trained model, in
output/quickstart/ (`make quickstart`).
"""

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch
from efficiency import discs, spread_points
from plain import plain
from tabulate import tabulate
from timing import median_seconds
from torch import Tensor, nn

import cfrsam_d2  # noqa: F401  (first: it may have to stand in for Detectron2)

# isort: split
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from detectron2.structures import ImageList

from cfrsam_d2.analysis import IMAGE_SIZE
from cfrsam_d2.data.mapper import NucleusMapper
from cfrsam_d2.engine import build_trained_model, load_config
from cfrsam_d2.engine.setup import skip_initial_weights
from cfrsam_d2.errors import UserError, exits_on_user_error

ROOT = Path(__file__).resolve().parents[1]
TRAINED = "configs/quickstart/cfrsam.yaml"
# Crops whose halo holds all that BGMR sees.
EXACT_CROPS = ["MODEL.MASK_HEAD.CROP_SIZES", "[64, 80, 96]", "MODEL.MASK_HEAD.CROP_HALO", "24"]


def random_model(name: str) -> nn.Module:
    cfg = load_config(str(ROOT / "configs" / f"cfrsam_{name}.yaml"), ["MODEL.DEVICE", "cpu"])
    skip_initial_weights(cfg)
    torch.manual_seed(0)
    return build_model(cfg).eval()


def nuclei(count: int) -> tuple[Tensor, Tensor]:
    """Points (count, 2) on a grid, and discs around them as masks (count, 256, 256)."""
    points = spread_points(count)
    return points, discs(points)


@torch.no_grad()
def infer(model: nn.Module, image: Tensor, points: Tensor, masks: Tensor) -> Tensor:
    """Both stages; `masks` take the place of initial masks where crops are laid."""
    head = model.mask_head
    model.proposal_generator(ImageList.from_tensors([image[0]]), None)
    maps = head.encode(image, model.backbone(image))
    refined = [
        head.predict(maps, points[chunk], torch.zeros(len(chunk)).long(), masks[chunk])
        for chunk in torch.arange(len(points)).split(head.prompts_per_chunk)
    ]
    return torch.cat([each.refined_logits > 0 for each in refined])


def train_step(model: nn.Module, image: Tensor, points: Tensor, masks: Tensor) -> None:
    model.train()
    image_index = torch.zeros(len(points)).long()
    losses = model.mask_head.losses(image, model.backbone(image), points, image_index, masks)
    sum(losses.values()).backward()
    model.zero_grad()
    model.eval()


def compare(model: nn.Module, work: Callable, count: int, runs: int) -> tuple[float, float]:
    """Seconds of the plain formulation and of the project's own."""
    inputs = (torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE), *nuclei(count))
    own = median_seconds(lambda: work(model, *inputs), runs)
    with plain(model):
        return median_seconds(lambda: work(model, *inputs), runs), own


def peak_memory(formulation: str) -> float:
    """GB that a process of its own took to infer 100 nuclei with ViT-B, the model included."""
    command = [sys.executable, __file__, "--memory-of", formulation]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(formulation: str) -> None:
    model = random_model("b")
    with plain(model) if formulation == "plain" else nullcontext():
        infer(model, torch.randn(1, 3, IMAGE_SIZE, IMAGE_SIZE), *nuclei(100))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


@torch.no_grad()
def mask_ious() -> Tensor:
    """IoU of the masks from crops with those of the full frame, of a trained model: (N,)."""
    cfg = load_config(str(ROOT / TRAINED), ["MODEL.DEVICE", "cpu", *EXACT_CROPS])
    model = build_trained_model(cfg)
    head, read = model.mask_head, NucleusMapper(cfg, is_train=False)
    ious = []
    for record in DatasetCatalog.get(cfg.DATASETS.TEST[0]):
        points = torch.tensor([each["point"] for each in record["annotations"]]).view(-1, 2)
        if len(points) == 0:
            continue
        image = model.normalize(read(record)["image"])[None]
        maps = head.encode(image, model.backbone(image))
        masks = []
        for head.crop_sizes in (cfg.MODEL.MASK_HEAD.CROP_SIZES, []):
            predictions = head.predict(maps, points, torch.zeros(len(points)).long())
            masks.append(predictions.refined_logits > 0)
        union = (masks[0] | masks[1]).sum(dim=(1, 2))
        ious.append(((masks[0] & masks[1]).sum(dim=(1, 2)) / union)[union > 0])
    return torch.cat(ious)


@exits_on_user_error
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=("b", "h"), default=["b", "h"])
    parser.add_argument("--runs", type=int, default=5, help="of which medians are taken")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-of", choices=("plain", "own"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.memory_of:
        measure_memory(args.memory_of)
        return
    if args.runs < 1:
        raise UserError(f"--runs is {args.runs}: give 1 or more")
    report(args.models, args.runs, as_json=args.json)


def report(models: list[str], runs: int, *, as_json: bool) -> None:
    rows, figures = [], {}
    for name in models:
        model = random_model(name)
        plain_s, own_s = compare(model, infer, 25, runs)
        rows.append((f"ViT-{name.upper()}, 25 nuclei, s", plain_s, own_s, plain_s / own_s))
        figures[f"speedup_{name}"] = plain_s / own_s
        if name == "b":
            plain_s, own_s = compare(model, train_step, 25, runs)
            rows.append(("training step of stage 2, ViT-B, s", plain_s, own_s, plain_s / own_s))
            figures["train_step_speedup_b"] = plain_s / own_s
    plain_gb, own_gb = peak_memory("plain"), peak_memory("own")
    rows.append(("peak memory, ViT-B, 100 nuclei, GB", plain_gb, own_gb, plain_gb / own_gb))
    figures["memory_ratio_100"] = own_gb / plain_gb
    ious = mask_ious()
    figures |= {"mask_iou_mean": float(ious.mean()), "mask_iou_min": float(ious.min())}
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    print(tabulate(rows, headers=["", "plain", "ours", "ratio"], floatfmt=".2f"))
    print(
        f"masks from crops against the full frame's, {len(ious)} nuclei, a trained model: "
        f"mean IoU {ious.mean():.4f}, least {ious.min():.4f}"
    )


if __name__ == "__main__":
    main()
