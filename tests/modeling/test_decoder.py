"""Prompts of several images in one call give what SAM gives image by image."""

import pytest
import torch
from torch import nn

from cfrsam_d2.modeling.mask_head.decoder import (
    build_mask_decoder,
    build_prompt_encoder,
    decode_points,
)


@pytest.fixture(scope="module")
def sam() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    return build_prompt_encoder(), build_mask_decoder().eval()


@pytest.mark.parametrize("boxes", [False, True], ids=["points", "boxes"])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 7)])
def test_equals_sam_image_by_image(
    sam: tuple[nn.Module, nn.Module], height: int, width: int, boxes: bool
):
    """Images of three, no and two prompts, the prompts in mixed order, cells of 16 px."""
    prompt_encoder, mask_decoder = sam
    embeddings = torch.randn(3, 256, height, width)
    prompt_image = torch.tensor([2, 0, 0, 2, 0])
    prompts = torch.rand(5, 2) * torch.tensor([width * 16.0 - 1, height * 16.0 - 1])
    if boxes:
        prompts = torch.cat([prompts, prompts + torch.rand(5, 2)], dim=1)
    with torch.no_grad():
        coarse = decode_points(prompt_encoder, mask_decoder, embeddings, prompts, prompt_image)
        assert coarse.logits.shape == (5, 4 * height, 4 * width)
        assert coarse.features.shape == (5, 32, 4 * height, 4 * width)

        prompt_encoder.image_embedding_size = (height, width)
        prompt_encoder.input_image_size = (16 * height, 16 * width)
        for image in (0, 2):
            own = (prompt_image == image).nonzero().squeeze(1)
            points = None if boxes else (prompts[own][:, None], torch.ones(len(own), 1))
            sparse, dense = prompt_encoder(points, prompts[own] if boxes else None, None)
            assert sparse.shape == (len(own), 2, 256)
            logits, pred_iou = mask_decoder(
                image_embeddings=embeddings[image : image + 1],
                image_pe=prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=False,
            )
            torch.testing.assert_close(coarse.logits[own], logits[:, 0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(coarse.pred_iou[own], pred_iou[:, 0], atol=1e-5, rtol=1e-5)


def test_logits_are_the_features_weighted_by_the_first_mask_token(
    sam: tuple[nn.Module, nn.Module],
):
    _, mask_decoder = sam
    seen = {}
    hooks = [
        module.register_forward_hook(
            lambda module, args, output, key=key: seen.update({key: output})
        )
        for key, module in {
            "features": mask_decoder.output_upscaling,
            "weights": mask_decoder.output_hypernetworks_mlps[0],
        }.items()
    ]
    with torch.no_grad():
        coarse = decode_points(
            *sam, torch.randn(1, 256, 4, 4), torch.tensor([[5.0, 9.0]]), torch.tensor([0])
        )
    for hook in hooks:
        hook.remove()
    assert torch.equal(coarse.features, seen["features"])
    expected = (seen["weights"][:, :, None, None] * seen["features"]).sum(dim=1)
    torch.testing.assert_close(coarse.logits, expected, atol=1e-5, rtol=1e-5)


def test_size_of_the_input_follows_each_call(sam: tuple[nn.Module, nn.Module]):
    """A call at another size in between changes nothing."""
    points, first = torch.tensor([[20.0, 30.0]]), torch.tensor([0])
    small, large = torch.randn(1, 256, 4, 4), torch.randn(1, 256, 6, 5)
    with torch.no_grad():
        before = decode_points(*sam, small, points, first).logits
        assert decode_points(*sam, large, points, first).logits.shape == (1, 24, 20)
        assert torch.equal(decode_points(*sam, small, points, first).logits, before)


def test_prompt_encoder_is_frozen_and_the_decoder_is_not():
    assert not any(each.requires_grad for each in build_prompt_encoder().parameters())
    decoder = build_mask_decoder()
    assert all(each.requires_grad for each in decoder.parameters())
    count = sum(each.numel() for each in decoder.parameters())
    assert count / 1e6 == pytest.approx(4.058, abs=5e-4)
