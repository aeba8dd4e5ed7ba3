"""Stage 1's network in SAM's place: shapes, what trains, and that nothing is there twice."""

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from cfrsam_d2.engine import load_config
from cfrsam_d2.engine.weights import check_initial_weights
from cfrsam_d2.errors import UserError
from cfrsam_d2.model_zoo import get_config_file
from cfrsam_d2.modeling.meta_arch import CFRSAM
from cfrsam_d2.modeling.sam import SharedEncoder
from cfrsam_d2.modeling.sam.shared_encoder import STRIDES, CellNeck

KEYS = ["MODEL.DEVICE", "cpu", "MODEL.PROMPT_LEARNER.DIMS", "[8, 16, 24, 32]"]


def small_cfrsam(*keys: str) -> CFRSAM:
    torch.manual_seed(0)
    return build_model(load_config(get_config_file("small/shipped.yaml"), [*KEYS, *keys]))


def test_levels_of_all_strides_come_out_on_the_grid_of_cells() -> None:
    encoder = SharedEncoder(channels=12, adapter_rank=4)
    levels = encoder([torch.rand(2, 12, 96 // stride, 128 // stride) for stride in STRIDES])
    assert list(levels) == ["level0", "level1", "level2", "level3"]
    assert {tuple(level.shape) for level in levels.values()} == {(2, 256, 6, 8)}
    assert encoder.size_divisibility == 32


def test_a_neck_loses_no_pixel_of_a_fine_level() -> None:
    """With the identity for its weights, a cell has its 16 pixels as channels."""
    neck = CellNeck(16, stride=4)
    with torch.no_grad():
        neck.conv.weight.copy_(torch.eye(256)[..., None, None])
    neck.norm = nn.Identity()
    level = torch.rand(1, 16, 8, 12)
    cells = neck(level)
    assert cells.shape == (1, 256, 2, 3)
    assert torch.equal(cells[0, :, 1, 2].view(16, 4, 4), level[0, :, 4:8, 8:12])


def test_stage_1_stays_as_it_is_and_has_the_only_copy_of_its_network() -> None:
    model = small_cfrsam().train()
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    assert not any(name.startswith("proposal_generator.") for name in trained)
    of_encoder = {name.split(".")[1] for name in trained if name.startswith("backbone.")}
    assert of_encoder == {"necks", "adapters"}
    before = {name: each.clone() for name, each in model.proposal_generator.state_dict().items()}
    model.encode(torch.rand(1, 3, 64, 96)).embeddings.sum().backward()
    after = model.proposal_generator.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(each.grad is not None for each in model.backbone.parameters())


def test_sams_weights_have_no_place_in_it() -> None:
    cfg = load_config(
        get_config_file("small/cfrsam.yaml"), [*KEYS, "MODEL.SAM.WEIGHTS", "weights/sam.pth"]
    )
    with pytest.raises(UserError, match=r"MODEL\.SAM\.WEIGHTS is weights/sam\.pth.*SharedEncoder"):
        check_initial_weights(cfg)
