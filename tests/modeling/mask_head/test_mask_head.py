"""The mask head: prompts of several images in one call as SAM takes them, weights of the losses."""

import pytest
import torch
from segment_anything.modeling.transformer import Attention
from tiny_segmenter import random_image, squares, tiny_cfrsam, tiny_head

from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.mask_head import ImageMaps, PointPromptedMaskHead
from cfrsam_d2.modeling.mask_head.decoder import build_mask_decoder, build_prompt_encoder


@pytest.fixture(scope="module")
def head() -> PointPromptedMaskHead:
    torch.manual_seed(0)
    return tiny_head().eval()


def random_maps(images: int, height: int, width: int) -> ImageMaps:
    """Of images of height×width cells."""
    return ImageMaps((16 * height, 16 * width), torch.randn(images, 256, height, width))


@torch.no_grad()
def test_equals_sam_image_by_image(head: PointPromptedMaskHead):
    """Images of three, no and two prompts, in mixed order, points, boxes and both."""
    prompt_image = torch.tensor([2, 0, 0, 2, 0])
    for height, width in [(4, 4), (4, 7)]:
        maps = random_maps(3, height, width)
        points = torch.rand(5, 2) * torch.tensor([width * 16.0 - 1, height * 16.0 - 1])
        boxes = torch.cat([points, points + torch.rand(5, 2)], dim=1)
        for prompts in (points, boxes, torch.cat([points, boxes], dim=1)):
            decoded = head.decode(maps, prompts, prompt_image)
            assert decoded.logits.shape == (5, 4 * height, 4 * width)
            assert decoded.features.shape == (5, 32, 4 * height, 4 * width)
            for image in (0, 2):
                own = (prompt_image == image).nonzero().squeeze(1)
                logits, pred_iou = by_sam(head, maps, prompts[own], image)
                torch.testing.assert_close(decoded.logits[own], logits, atol=1e-5, rtol=1e-5)
                torch.testing.assert_close(decoded.pred_iou[own], pred_iou, atol=1e-5, rtol=1e-5)


def by_sam(head: PointPromptedMaskHead, maps: ImageMaps, prompts: torch.Tensor, image: int):
    """Logits and estimated IoU of the prompts of one image, through SAM's own `forward`."""
    encoder = head.prompt_encoder
    encoder.image_embedding_size, encoder.input_image_size = (
        tuple(maps.embeddings.shape[2:]),
        maps.frame_size,
    )
    point, box = {2: ([0, 1], []), 4: ([], [0, 1, 2, 3]), 6: ([0, 1], [2, 3, 4, 5])}[
        prompts.shape[1]
    ]
    points = (prompts[:, None, point], torch.ones(len(prompts), 1)) if point else None
    sparse, dense = encoder(points, prompts[:, box] if box else None, None)
    assert sparse.shape == (len(prompts), 3 if point and box else 2, 256)
    logits, pred_iou = head.mask_decoder(
        image_embeddings=maps.embeddings[image : image + 1],
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=False,
    )
    return logits[:, 0], pred_iou[:, 0]


@torch.no_grad()
def test_negative_points_are_sams(head: PointPromptedMaskHead):
    """Labels 0 and, where there are too few, -1, whatever stands in their place."""
    encoder, maps = head.prompt_encoder, random_maps(1, 4, 4)
    points = torch.rand(2, 3, 2) * 63
    labels = torch.tensor([[1, 0, 0], [1, 0, -1]])
    seen = []
    hook = encoder.register_forward_hook(lambda module, args, output: seen.append(output))
    given = points.clone()
    given[1, 2] = torch.nan
    image = torch.tensor([0, 0])
    decoded = head.decode(maps, given, image)
    expected, _ = encoder((points, labels), boxes=None, masks=None)
    hook.remove()
    assert torch.equal(seen[0][0], expected)
    assert expected.shape == (2, 4, 256)
    assert decoded.logits.isfinite().all()
    logits, pred_iou = head.mask_decoder(
        image_embeddings=maps.embeddings,
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=expected,
        dense_prompt_embeddings=seen[0][1],
        multimask_output=False,
    )
    torch.testing.assert_close(decoded.logits, logits[:, 0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.pred_iou, pred_iou[:, 0], atol=1e-5, rtol=1e-5)
    alone = head.decode(maps, points[:, 0], image).logits
    assert not torch.allclose(decoded.logits, alone, atol=1e-3)
    assert torch.equal(head.decode(maps, points[:, :1], image).logits, alone)


@torch.no_grad()
def test_a_box_beside_a_point_is_sams(head: PointPromptedMaskHead):
    """Its tokens are the point's, label 1, and the box's two corners; no padding as of points."""
    encoder, seen = head.prompt_encoder, []
    hook = encoder.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    prompt = torch.tensor([[20.0, 31.0, 12.0, 25.0, 40.0, 37.0]])
    head.decode(random_maps(1, 4, 4), prompt, torch.tensor([0]))
    box = prompt[:, 2:]
    both, _ = encoder((prompt[:, None, :2], torch.ones(1, 1)), boxes=box, masks=None)
    point, _ = encoder((prompt[:, None, :2], torch.ones(1, 1)), boxes=None, masks=None)
    corners, _ = encoder(None, boxes=box, masks=None)
    hook.remove()
    assert seen[0].shape == (1, 3, 256)
    assert torch.equal(seen[0], both)
    assert torch.equal(seen[0], torch.cat([point[:, :1], corners], dim=1))


@torch.no_grad()
def test_logits_are_the_features_weighted_by_the_first_mask_token(head: PointPromptedMaskHead):
    decoder, seen = head.mask_decoder, {}
    hooks = [
        module.register_forward_hook(
            lambda module, args, output, key=key: seen.update({key: output})
        )
        for key, module in {
            "features": decoder.output_upscaling,
            "weights": decoder.output_hypernetworks_mlps[0],
        }.items()
    ]
    decoded = head.decode(random_maps(1, 4, 4), torch.tensor([[5.0, 9.0]]), torch.tensor([0]))
    for hook in hooks:
        hook.remove()
    assert torch.equal(decoded.features, seen["features"])
    expected = (seen["weights"][:, :, None, None] * seen["features"]).sum(dim=1)
    torch.testing.assert_close(decoded.logits, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_size_of_the_input_follows_each_call(head: PointPromptedMaskHead):
    """A call at another size in between changes nothing."""
    point, first = torch.tensor([[20.0, 30.0]]), torch.tensor([0])
    small, large = random_maps(1, 4, 4), random_maps(1, 6, 5)
    before = head.decode(small, point, first).logits
    assert head.decode(large, point, first).logits.shape == (1, 24, 20)
    assert torch.equal(head.decode(small, point, first).logits, before)


def test_prompt_encoder_is_frozen_and_the_decoder_is_not():
    assert not any(each.requires_grad for each in build_prompt_encoder().parameters())
    decoder = build_mask_decoder()
    assert all(each.requires_grad for each in decoder.parameters())
    count = sum(each.numel() for each in decoder.parameters())
    assert count / 1e6 == pytest.approx(4.058, abs=5e-4)


def test_the_decoders_attention_starts_between_what_is_alike():
    attentions = [each for each in build_mask_decoder().modules() if isinstance(each, Attention)]
    assert len(attentions) == 2 * 3 + 1
    for each in attentions:
        assert torch.equal(each.q_proj.weight, each.k_proj.weight)
        assert torch.equal(each.q_proj.bias, each.k_proj.bias)


def test_losses_take_the_given_weights():
    def losses(**weights: float) -> dict[str, float]:
        torch.manual_seed(0)
        model = tiny_cfrsam(mask_head=tiny_head(**weights))
        torch.manual_seed(1)
        batch = [{"image": random_image(64, 64), "instances": squares((64, 64), [(8, 8)])}]
        return {name: each.item() for name, each in model(batch).items()}

    plain, heavy = losses(), losses(focal_weight=40.0, boundary_weight=1.0)
    factors = {"loss_initial_focal": 2, "loss_refined_focal": 2, "loss_boundary": 100}
    assert {name: heavy[name] / plain[name] for name in plain} == pytest.approx(
        {name: factors.get(name, 1) for name in plain}
    )


def test_values_that_an_argument_does_not_take_are_refused():
    for options, message in [
        ({"final_mask": "best"}, r"^final_mask is 'best': choose one of \('refined', 'initial'\)$"),
        ({"crop_sizes": (64, 30)}, r"^crop_sizes is \[64, 30\]: give positive multiples of 4 px$"),
        ({"crop_sizes": (0,)}, r"^crop_sizes is \[0\]: give positive multiples of 4 px$"),
        ({"train_crop_sizes": (6,)}, r"^train_crop_sizes is \[6\]: give positive multiples of"),
    ]:
        with pytest.raises(UserError, match=message):
            tiny_head(**options)
