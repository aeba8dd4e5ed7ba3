"""Which anchors see a nucleus: by one class, as published, or by all of them together."""

import torch
from detectron2.structures import Instances

from cfrsam_d2.modeling.prompt_learner.points import foreground_points

# Two classes and background: a clear nucleus, one whose class is in doubt, and background.
PROBABILITIES = torch.tensor([[0.7, 0.1, 0.2], [0.25, 0.35, 0.4], [0.2, 0.1, 0.7]])


def foreground(foreground_thresh: float, *, class_probs: bool = False) -> Instances:
    """The points of three anchors."""
    points = torch.tensor([[5.0, 5.0], [15.0, 5.0], [25.0, 5.0]])
    return foreground_points(
        points,
        PROBABILITIES.log(),
        torch.zeros(32, 32),
        points,
        (20, 30),
        keep_on_mask_only=False,
        foreground_thresh=foreground_thresh,
        class_probs=class_probs,
    )


def found(foreground_thresh: float) -> list[tuple[int, int, float]]:
    """Anchor, class and score of each point."""
    instances = foreground(foreground_thresh)
    return [
        (int(anchor), int(instances.proposal_classes[i]), round(float(score), 4))
        for i, (anchor, score) in enumerate(
            zip(instances.proposal_anchors, instances.proposal_scores, strict=True)
        )
    ]


def test_as_published_one_class_has_to_be_likelier_than_background() -> None:
    assert found(0.0) == [(0, 0, 0.7)]


def test_with_a_threshold_the_classes_add_up() -> None:
    assert found(0.45) == [(0, 0, 0.8), (1, 1, 0.6)]
    assert found(0.65) == [(0, 0, 0.8)]


def test_probabilities_of_classes_leave_background_out() -> None:
    instances = foreground(0.45, class_probs=True)
    expected = torch.tensor([[7 / 8, 1 / 8], [5 / 12, 7 / 12]])
    torch.testing.assert_close(instances.proposal_class_probs, expected)
