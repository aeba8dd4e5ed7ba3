"""Plain and fast forms give the same numbers: module by module, and the whole of stage 2."""

import pytest
import torch
from tiny_segmenter import encode, random_image, squares, tiny_cfrsam, tiny_encoder, tiny_head
from torch import Tensor, nn

from cfrsam_d2.modeling.mask_head.bgmr import MCBE
from cfrsam_d2.modeling.mask_head.deform_conv import DeformConv
from cfrsam_d2.modeling.mask_head.head import MaskPredictions
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.plain import plain_form
from cfrsam_d2.modeling.sam.mala import AdaptiveMultiScaleConv

SIZE = (96, 256)  # 6×16 cells: windows of 14 columns and of two
NUCLEI = [(40, 40), (150, 36)]  # far enough from the frame for crops of 80 px


class DeepestLevel(nn.Module):
    """Of an encoder whose maps are cut by windows' edges."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = tiny_encoder(frozen=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images)["level3"]


def forms(model: nn.Module) -> list[bool]:
    return [module.fast for module in model.modules() if hasattr(module, "fast")]


def output_and_gradients(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """And the gradients of all parameters and of the input."""
    module.zero_grad()
    x = x.clone().requires_grad_()
    output = module(x)
    output.square().sum().backward()
    gradients = {name: each.grad.clone() for name, each in module.named_parameters()}
    return {"": output.detach(), "x": x.grad, **gradients}


def test_every_module_of_two_forms_gives_the_same_in_both(device: torch.device):
    """Numbers and gradients, in double precision."""
    compared = set()
    for module, x in [
        (MCBE(), torch.randn(2, 3, 9, 12)),
        (DeformConv(5, 4), torch.randn(2, 5, 11, 13)),
        (AdaptiveMultiScaleConv(5), torch.randn(2, 5, 6, 7)),
        (DeepestLevel(), torch.randn(1, 3, 80, 256)),
    ]:
        module = module.double().eval().to(device)
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
        fast = output_and_gradients(module, x.double().to(device))
        with plain_form(module):
            plain = output_and_gradients(module, x.double().to(device))
        for name, each in fast.items():
            torch.testing.assert_close(each, plain[name], rtol=1e-8, atol=1e-8, msg=name)
        compared |= {type(each) for each in module.modules() if hasattr(each, "fast")}
    assert compared == {type(each) for each in tiny_cfrsam().modules() if hasattr(each, "fast")}


def test_leaving_the_context_restores_the_form():
    model = tiny_cfrsam()
    names = list(model.state_dict())
    assert all(forms(model))
    with plain_form(model):
        with plain_form(model.mask_head):
            assert not any(forms(model))
        assert not any(forms(model))
    assert all(forms(model))
    with plain_form(model.backbone):
        assert not any(forms(model.backbone))
        assert all(forms(model.mask_head))
    with pytest.raises(KeyError), plain_form(model.backbone):
        raise KeyError
    assert all(forms(model))
    assert list(model.state_dict()) == names


@pytest.fixture
def model(device: torch.device) -> CFRSAM:
    """With offsets of deformable convolutions and relative positions that matter."""
    head = tiny_head(crop_sizes=(80,), crop_halo=24)
    model = tiny_cfrsam(mask_head=head).eval()
    for name, parameter in model.named_parameters():
        if "offset" in name or "rel_pos" in name:
            nn.init.normal_(parameter, std=0.02)
    return model.to(device)


def predict(model: CFRSAM, gt_masks: Tensor) -> MaskPredictions:
    torch.manual_seed(1)
    points = torch.tensor(NUCLEI, device=model.device) + 7.0  # the middles of squares of 15 px
    maps = encode(model, random_image(*SIZE))
    return model.mask_head.predict(maps, points, points.new_zeros(2).long(), gt_masks)


@torch.no_grad()
def test_same_masks_as_in_plain_form_at_full_frame(model: CFRSAM, atol: float):
    nuclei = squares(SIZE, NUCLEI, side=15).gt_masks.tensor.to(model.device)
    sizes = []
    model.mask_head.bgmr.register_forward_hook(
        lambda module, args, output: sizes.append(tuple(args[0].shape[-2:]))
    )
    ours = predict(model, nuclei)
    model.mask_head.crop_sizes = []
    with plain_form(model):
        theirs = predict(model, nuclei)
    assert sizes == [(80, 80), SIZE]
    for actual, expected in [
        (ours.logits["initial"], theirs.logits["initial"]),
        (ours.decoded.pred_iou, theirs.decoded.pred_iou),
        (ours.logits["refined"][nuclei], theirs.logits["refined"][nuclei]),
    ]:
        torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def test_same_gradients_of_the_nuclei(model: CFRSAM):
    """In evaluation mode: batch statistics of crops are others than those of frames."""
    nuclei = squares(SIZE, NUCLEI, side=15).gt_masks.tensor.to(model.device)

    def gradient() -> Tensor:
        model.zero_grad()
        predict(model, nuclei).logits["refined"][nuclei].square().sum().backward()
        return torch.cat([each.grad.flatten() for each in model.backbone.adapters.parameters()])

    ours = gradient()
    model.mask_head.crop_sizes = []
    with plain_form(model):
        theirs = gradient()
    assert (ours - theirs).norm() <= 1e-3 * theirs.norm()
