"""The whole of stage 2 gives what the benchmarks' plain formulation gives, masks and gradients."""

import torch
from tiny_segmenter import random_image, squares, tiny_cfrsam
from torch import nn

from benchmarks.plain import plain
from cfrsam_d2.modeling.mask_head.head import MaskPredictions
from cfrsam_d2.modeling.meta_arch import CFRSAM

SIZE = (160, 256)  # 10×16 cells: a whole window, and one of two columns
NUCLEI = [(40, 60), (150, 100)]  # far enough from the frame for crops of 80 px


def trained_like_model() -> CFRSAM:
    """With offsets of deformable convolutions and relative positions that matter."""
    torch.manual_seed(0)
    model = tiny_cfrsam(head={"crop_sizes": (80,), "crop_halo": 24}).eval()
    for name, parameter in model.named_parameters():
        if "offset" in name or "rel_pos" in name:
            nn.init.normal_(parameter, std=0.02)
    return model


def predict(model: CFRSAM, gt_masks: torch.Tensor) -> MaskPredictions:
    image = model.normalize(random_image(*SIZE))[None]
    points = torch.tensor(NUCLEI) + 7.0  # the middles of squares of 15 px
    maps = model.mask_head.encode(image, model.backbone(image))
    return model.mask_head.predict(maps, points, torch.tensor([0, 0]), gt_masks)


def test_same_masks_as_the_plain_formulation():
    model = trained_like_model()
    nuclei = squares(SIZE, NUCLEI, side=15).gt_masks.tensor
    frames = []
    model.mask_head.bgmr.register_forward_hook(
        lambda module, args, output: frames.append(tuple(args[0].shape[-2:]))
    )
    with torch.no_grad():
        torch.manual_seed(1)
        ours = predict(model, nuclei)
        with plain(model):
            torch.manual_seed(1)
            theirs = predict(model, nuclei)
    assert frames == [(80, 80), SIZE]
    torch.testing.assert_close(ours.initial_logits, theirs.initial_logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.pred_iou, theirs.pred_iou, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        ours.refined_logits[nuclei], theirs.refined_logits[nuclei], atol=1e-4, rtol=0
    )


def test_same_gradients_of_the_nuclei():
    """In evaluation mode: batch statistics of crops are others than those of frames."""
    model = trained_like_model()
    nuclei = squares(SIZE, NUCLEI, side=15).gt_masks.tensor

    def gradient() -> torch.Tensor:
        model.zero_grad()
        torch.manual_seed(1)
        predict(model, nuclei).refined_logits[nuclei].square().sum().backward()
        return torch.cat([each.grad.flatten() for each in model.backbone.adapters.parameters()])

    ours = gradient()
    with plain(model):
        theirs = gradient()
    assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
