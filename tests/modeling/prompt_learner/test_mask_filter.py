"""Which pixel of the auxiliary mask decides whether a point stays."""

import torch

from cfrsam_d2.modeling.prompt_learner.points import foreground_points


def test_the_pixel_of_a_point_is_its_coordinates_cut_off():
    """Pixel x=6, y=5 alone is on the mask; 5.6 rounds to it, and 6.6 is cut to it."""
    mask_logits = torch.full((32, 32), -1.0)
    mask_logits[5, 6] = 1.0
    points = torch.tensor([[5.6, 5.4], [6.6, 5.0], [6.0, 5.9], [6.0, 15.0]])
    found = foreground_points(
        points,
        torch.tensor([[0.9, 0.1]] * 4).log(),
        mask_logits,
        points,
        (20, 30),
        keep_on_mask_only=True,
    )
    assert found.proposal_anchors.tolist() == [1, 2]
