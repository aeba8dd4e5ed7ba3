"""Maps in pieces: as whole, at all sizes."""

import torch

from cfrsam_d2.modeling.mask_head.bgmr import BGMR, DETAIL_REACH
from cfrsam_d2.modeling.mask_head.pieces import PIECE, in_pieces


@torch.no_grad()
def test_pieces_give_what_the_whole_gives() -> None:
    bgmr = BGMR().eval().double()
    for size in [(3, 5), (PIECE, PIECE), (PIECE + 1, 2), (2 * PIECE - 3, 16), (40, PIECE + 4)]:
        images = torch.randn(2, 3, *size, dtype=torch.float64)
        torch.testing.assert_close(bgmr.detail(images), bgmr.mcbe(images), atol=1e-12, rtol=0)


@torch.no_grad()
def test_the_reach_is_no_larger_than_needed() -> None:
    mcbe = BGMR().eval().double().mcbe
    images = torch.randn(1, 3, 8, PIECE + 40, dtype=torch.float64)
    too_little = in_pieces(mcbe, images, DETAIL_REACH - 1)
    assert (too_little - mcbe(images)).abs().max() > 1e-9


def test_in_training_images_stay_whole() -> None:
    """Batch norm sees them together."""
    bgmr, seen = BGMR().train(), []
    bgmr.mcbe.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    bgmr.detail(torch.randn(2, 3, 16, PIECE + 16))
    assert seen == [(2, 3, 16, PIECE + 16)]
