"""What can adapt a block of SAM's encoder, by the names of MODEL.SAM.ADAPTER (Tables 7 and 8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from .houlsby import HoulsbyAdapter
from .lora import LoRA
from .mala import MALA
from .static_mala import StaticMALA

Hook = Callable[[nn.Module, nn.Module, tuple, torch.Tensor], torch.Tensor]


def adapt_output(adapter: nn.Module, module: nn.Module, args: tuple, output: torch.Tensor):
    """Forward hook: the adapted output takes the place of the module's own."""
    return adapter(output)


def add_to_output(adapter: nn.Module, module: nn.Module, args: tuple, output: torch.Tensor):
    """Forward hook: what the adapter makes of the module's input is added to the output."""
    return output + adapter(*args)


@dataclass(frozen=True)
class AdapterKind:
    """
    Attributes:
        build: makes an adapter from the width of the ViT and the rank.
        places: where adapters hang in a block: their names, and the submodules of the block that
            they adapt ("" is the block itself).
        hook: how they adapt them; a function of this module, so that encoders can be copied.
    """

    build: Callable[[int, int], nn.Module]
    places: Mapping[str, str]
    hook: Hook = adapt_output


ADAPTERS: dict[str, AdapterKind] = {
    "MALA": AdapterKind(MALA, {"attn": "attn", "block": ""}),
    "StaticMALA": AdapterKind(StaticMALA, {"attn": "attn", "block": ""}),
    "Houlsby": AdapterKind(HoulsbyAdapter, {"attn": "attn", "mlp": "mlp"}),
    "LoRA": AdapterKind(LoRA, {"qkv": "attn.qkv"}, add_to_output),
    "none": AdapterKind(MALA, {}),
}
