"""Activation checkpointing of BGMR: the same numbers, gradients and statistics, less memory."""

import copy

import torch
from torch import Tensor, nn

from cfrsam_d2.modeling.mask_head.bgmr import BGMR
from cfrsam_d2.modeling.mask_head.checkpointing import buffers_kept
from cfrsam_d2.modeling.mask_head.refiners import REFINERS


def inputs() -> list[Tensor]:
    """Of three nuclei at 16×24 px."""
    torch.manual_seed(1)
    sizes = [(16, 24), (4, 6), (4, 6)]
    return [torch.randn(3, 32, *size).requires_grad_() for size in sizes]


def step(bgmr: BGMR) -> dict[str, Tensor]:
    """Outputs, gradients of inputs and parameters, and buffers after a training step."""
    given = inputs()
    outputs = bgmr(*given)
    sum(each.square().sum() for each in outputs).backward()
    return {
        **{f"output {i}": each.detach() for i, each in enumerate(outputs)},
        **{f"input {i}": each.grad for i, each in enumerate(given)},
        **{name: each.grad for name, each in bgmr.named_parameters() if each.grad is not None},
        **dict(bgmr.named_buffers()),
    }


def test_a_step_is_the_same_bit_for_bit_and_statistics_move_once():
    for name in ("BGMR", "BGMR-without-BGFF"):
        kept = REFINERS[name]().train()
        for module in kept.modules():
            if hasattr(module, "offset"):
                nn.init.normal_(module.offset.weight, std=0.02)
        recomputed = copy.deepcopy(kept)
        recomputed.checkpoint_activations = True
        for steps in (1, 2):
            expected, actual = step(kept), step(recomputed)
            assert actual.keys() == expected.keys()
            for key, each in actual.items():
                assert torch.equal(each, expected[key]), key
                if key.endswith("num_batches_tracked") and "mcbe" not in key:
                    assert each == steps, key
        assert list(recomputed.state_dict()) == list(kept.state_dict())


def kept_bytes(bgmr: BGMR) -> int:
    """Of all that the forward pass keeps for the backward pass, parameters left out."""
    own = {each.data_ptr() for each in (*bgmr.parameters(), *bgmr.buffers())}
    storages = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = bgmr(*inputs())
    assert len(outputs) == 2
    return sum(each.nbytes() for each in storages.values())


def test_only_the_inputs_of_parts_are_kept():
    """S, D, Y and the refined S, and at a quarter of the size U and G: 32 channels each."""
    bgmr = BGMR().train()
    everything = kept_bytes(bgmr)
    bgmr.checkpoint_activations = True
    assert kept_bytes(bgmr) == 3 * 32 * 4 * (4 * 16 * 24 + 2 * 4 * 6)
    assert kept_bytes(bgmr) < everything / 5


def test_nothing_is_computed_twice_in_evaluation():
    bgmr = BGMR().eval()
    expected = bgmr(*inputs())
    bgmr.checkpoint_activations = True
    calls = []
    bgmr.bgff.register_forward_hook(lambda *_: calls.append(1))
    actual = bgmr(*inputs())
    sum(each.sum() for each in actual).backward()
    assert len(calls) == 1
    assert all(torch.equal(a, b) for a, b in zip(actual, expected, strict=True))


def test_buffers_are_kept_after_an_error_too():
    norm = nn.BatchNorm2d(2)
    mean = norm.running_mean
    try:
        with buffers_kept(norm):
            norm(torch.randn(2, 2, 3, 3))
            assert norm.num_batches_tracked == 1
            raise ValueError
    except ValueError:
        pass
    assert norm.running_mean is mean
    assert not mean.any()
    assert norm.num_batches_tracked == 0
