"""Whether points depend on what an image is cut to, by MODEL.PROMPT_LEARNER.SAMPLING."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.modeling import build_proposal_generator
from torch import Tensor, nn

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.errors import UserError
from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.points import enlarge_mask, sample_at_points

SIZE, CUT = 832, 640  # px of a side
FAR = 192  # px from the cut; only what is farther is compared
STRIDE = 8  # px between anchors


def generator(sampling: str) -> CentroidProposalGenerator:
    """A small network with random weights, each of which counts."""
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    node = cfg.MODEL.PROMPT_LEARNER
    node.DEPTHS, node.DIMS, node.HIDDEN_DIM = [1, 1, 1, 1], [8, 8, 16, 16], 16
    node.SAMPLING = sampling
    torch.manual_seed(0)
    model = build_proposal_generator(cfg, None)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            nn.init.constant_(parameter, 0.3)  # a new ConvNeXt's blocks are next to nothing
    return model.eval()


@torch.no_grad()
def points_and_mask(model: CentroidProposalGenerator, image: Tensor) -> tuple[Tensor, Tensor]:
    """Points of each anchor (gh, gw, 2), logits of the auxiliary mask (H, W)."""
    predictions = model.predict(image[None])
    side = image.shape[-1] // STRIDE
    return predictions.points.view(side, side, 2), predictions.mask_logits[0]


def changes_by_cuts(sampling: str) -> tuple[float, float]:
    """The most that a cut changes a point (px) or a logit of the mask that is far from it."""
    model = generator(sampling)
    image = torch.randn(3, SIZE, SIZE)
    points, mask = points_and_mask(model, image)
    of_points, of_mask = [], []
    for start in (0, SIZE - CUT):  # cut at right and bottom; at left and top
        end = start + CUT
        cut_points, cut_mask = points_and_mask(model, image[:, start:end, start:end])
        far = slice(0, CUT - FAR) if start == 0 else slice(FAR, CUT)
        whole = slice(far.start + start, far.stop + start)
        cells, cut_cells = (slice(s.start // STRIDE, s.stop // STRIDE) for s in (whole, far))
        of_points.append(points[cells, cells] - (cut_points[cut_cells, cut_cells] + start))
        of_mask.append(mask[whole, whole] - cut_mask[far, far])
    return torch.cat(of_points).abs().max().item(), torch.stack(of_mask).abs().max().item()


def test_centred_points_are_the_same_whatever_the_image_is_cut_to():
    of_points, of_mask = changes_by_cuts("centred")
    assert of_points <= 2**-13  # two roundings of float32 at 832 px
    assert of_mask < 1e-4


def test_published_points_are_not():
    of_points, of_mask = changes_by_cuts("published")
    assert of_points > 0.1
    assert of_mask > 0.1


def test_both_are_the_same_in_the_middle_of_an_image():
    """Of a map of 8 cells: there at cell 3.5, and centred a cell further for a stride."""
    feature = torch.arange(8.0).expand(1, 1, 8, 8)
    points = torch.tensor([[[[16.0, 16.0], [20.0, 16.0]]]])
    published, centred = (
        sample_at_points(feature, points, 4, centred=each).flatten().tolist()
        for each in (False, True)
    )
    assert published == pytest.approx([3.5, 4.375])
    assert centred == pytest.approx([3.5, 4.5])


def test_the_mask_is_enlarged_around_its_middle_or_from_border_to_border():
    """Numbers 0 to 5 of 4 cells and one more at each side, 16 px."""
    logits = torch.arange(6.0).expand(1, 1, 6, 6)
    published, centred = (
        enlarge_mask(logits, (16, 16), 4, centred=each)[0, 0, 0] for each in (False, True)
    )
    assert published.tolist() == pytest.approx([x * 5 / 15 for x in range(16)])
    assert centred.tolist() == pytest.approx([0.625 + x / 4 for x in range(16)])


def test_the_default_is_published_and_others_are_refused():
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    assert cfg.MODEL.PROMPT_LEARNER.SAMPLING == "published"
    with pytest.raises(UserError, match=r"SAMPLING is 'center': choose one of published, centred"):
        generator("center")
