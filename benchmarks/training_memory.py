#!/usr/bin/env python
"""What a training step of stage 2 keeps for its backward pass, by part, in GB.

    python benchmarks/training_memory.py

CFR-SAM-B as its config trains it: 2 images of 256 px, full frame, float32. The tensors that
autograd saves are counted, each storage once, weights left out, on a CPU; so no GPU is needed.
Counted are steps of 1 and 2 nuclei per image, and from these, linearly, 25 per image: BGMR's maps
are per nucleus. What lives for a moment only, such as the gradients of activations, is not in it.
"""

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cfrsam_d2  # noqa: F401  (first: it sets how threads wait, and may stand in for Detectron2)

# isort: split
import torch
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Instances
from tabulate import tabulate
from torch import Tensor, nn

from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.plain import plain_form

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "cfrsam_b.yaml"
IMAGES, SIZE, NUCLEI = 2, 256, 25
FEW, MORE = 1, 2  # nuclei per image that are counted
GB = 1e9
PARTS = {
    "encoder": "backbone",
    "HMFM": "mask_head.fusion",
    "deep branch": "mask_head.deep_branch",
    "MCBE": "mask_head.bgmr.mcbe",
    "decoder": "mask_head.mask_decoder.transformer",
    "BGMR: upsampling": "mask_head.bgmr.upsample",
    "BGMR: BGFF": "mask_head.bgmr.bgff",
    "BGMR: boundary head": "mask_head.bgmr.boundary_head",
    "BGMR: refinement": "mask_head.bgmr.refinement",
    "BGMR: mask head": "mask_head.bgmr.mask_head",
}
REST = "the rest, losses included"


def training_batch(nuclei: int) -> list[dict[str, Any]]:
    """Noise with squares of 16 px, whose middles prompt: `nuclei` in each image."""
    masks = torch.zeros(nuclei, SIZE, SIZE, dtype=torch.bool)
    for i, mask in enumerate(masks):
        mask[40 : 40 + 16, 20 * i : 20 * i + 16] = True
    points = torch.tensor([[20 * i + 7.5, 47.5] for i in range(nuclei)])
    instances = Instances((SIZE, SIZE), gt_points=points, gt_masks=BitMasks(masks))
    instances.gt_classes = torch.zeros(nuclei, dtype=torch.int64)
    image = torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)
    return [{"image": image, "instances": instances}] * IMAGES


class SavedTensors:
    """Counts what the parts of a model save for the backward pass.

    Attributes:
        bytes: by part.
    """

    def __init__(self, model: nn.Module) -> None:
        self._weights = {each.data_ptr() for each in (*model.parameters(), *model.buffers())}
        self._seen: dict[int, Tensor] = {}  # held, so that no storage takes another's place
        self._part = [REST]
        self.bytes: Counter[str] = Counter()
        for part, name in PARTS.items():
            module = model.get_submodule(name)
            module.register_forward_pre_hook(lambda *_, part=part: self._part.append(part))
            module.register_forward_hook(lambda *_: self._part.pop() and None)

    def count(self, model: nn.Module, nuclei: int) -> Counter[str]:
        """Bytes by part of a step with so many nuclei in each image."""
        self._seen, self.bytes = {}, Counter()
        with torch.autograd.graph.saved_tensors_hooks(self._note, lambda tensor: tensor):
            sum(model(training_batch(nuclei)).values())
        return self.bytes

    def _note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._weights | self._seen.keys():
            self._seen[storage.data_ptr()] = tensor
            self.bytes[self._part[-1]] += storage.nbytes()
        return tensor


def of_a_whole_step(model: nn.Module, saved: SavedTensors) -> dict[str, float]:
    """GB by part with all nuclei, from two steps with few."""
    few, more = (saved.count(model, nuclei) for nuclei in (FEW, MORE))
    per_nucleus = {part: (more[part] - few[part]) / (MORE - FEW) for part in (*PARTS, REST)}
    return {part: (few[part] + (NUCLEI - FEW) * each) / GB for part, each in per_nucleus.items()}


def main() -> None:
    torch.manual_seed(0)
    overrides = ["MODEL.DEVICE", "cpu", "MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"]
    model: Any = build_model(load_config(str(CONFIG), overrides)).train()
    bgmr, saved = model.mask_head.bgmr, SavedTensors(model)
    columns = []
    for is_plain, bgmr.checkpoint_activations in [(True, False), (False, False), (False, True)]:
        with plain_form(model) if is_plain else nullcontext():
            columns.append(of_a_whole_step(model, saved))
    again = max(columns[1][part] for part in PARTS if part.startswith("BGMR"))
    rows = [[part, *(column[part] for column in columns)] for part in (*PARTS, REST)]
    rows.append(["the largest part, computed again", 0, 0, again])
    rows.append(["together", *(sum(each) for each in zip(*(row[1:] for row in rows), strict=True))])
    print(
        f"{IMAGES} images of {SIZE} px, {IMAGES * NUCLEI} nuclei, in GB; counted with "
        f"{IMAGES * FEW} and {IMAGES * MORE} nuclei and extrapolated linearly"
    )
    headers = ["kept for the backward pass", "published", "here", "checkpointed"]
    print(tabulate(rows, headers=headers, floatfmt=".2f"))
    weights = sum(each.nbytes for each in model.parameters()) / GB
    trained = sum(each.nbytes for each in model.parameters() if each.requires_grad) / GB
    print(f"beside it: weights {weights:.2f}, gradients and Adam's averages {3 * trained:.2f}")


if __name__ == "__main__":
    main()
