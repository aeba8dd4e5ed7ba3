"""The adapters of SAM's blocks by the names of MODEL.SAM.ADAPTER (Tables 7 and 8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from detectron2.config import CfgNode
from torch import Tensor, nn

from ...config import choose
from ...errors import UserError
from .houlsby import HoulsbyAdapter
from .lora import LoRA
from .mala import MALA
from .static_mala import StaticMALA

Adapter = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AdapterKind:
    """
    Attributes:
        build: makes an adapter from the width of the ViT and the rank.
        places: where adapters hang in a block: their names, and the submodules of the block that
            they adapt ("" is the block itself).
        beside: whether they take the input of the submodule, and add to its output; else they take
            the output, and give the adapted one.
        reach: how many cells around its own an output of the adapter depends on.
    """

    build: Callable[[int, int], nn.Module]
    places: Mapping[str, str]
    beside: bool = False
    reach: int = 0


ADAPTERS: dict[str, AdapterKind] = {
    "MALA": AdapterKind(MALA, {"attn": "attn", "block": ""}, reach=MALA.reach),
    "StaticMALA": AdapterKind(StaticMALA, {"attn": "attn", "block": ""}, reach=MALA.reach),
    "Houlsby": AdapterKind(HoulsbyAdapter, {"attn": "attn", "mlp": "mlp"}),
    "LoRA": AdapterKind(LoRA, {"qkv": "attn.qkv"}, beside=True),
    "none": AdapterKind(MALA, {}),
}


def adapter_options(cfg: CfgNode) -> dict[str, Any]:
    """What an encoder's constructor takes from the keys of adapters."""
    node = cfg.MODEL.SAM
    return {
        "adapter_rank": node.ADAPTER_RANK,
        "frozen": node.FREEZE,
        "adapter": choose(ADAPTERS, node.ADAPTER, "MODEL.SAM.ADAPTER"),
    }


def build_adapters(kind: AdapterKind, depth: int, width: int, rank: int) -> nn.ModuleList:
    """The adapters of each block of a ViT, by the names of their places.

    Args:
        kind: of all.
        depth: number of blocks.
        width: channels of a block.
        rank: channels of the adapters' bottleneck, at least 1.

    Raises:
        UserError: the rank is below 1.
    """
    if rank < 1:
        raise UserError(f"adapter_rank is {rank}: give 1 or more")
    return nn.ModuleList(
        nn.ModuleDict({name: kind.build(width, rank) for name in kind.places}) for _ in range(depth)
    )


def attach_adapters(kind: AdapterKind, block: nn.Module, adapters: Mapping[str, Adapter]) -> None:
    """Hang adapters on the forward pass of the submodules of a block that they adapt.

    Of MALA, two per block: one on the attention, before the residual is added, and one on the block
    itself (paper 3.4).

    Args:
        kind: says where they hang.
        block: of a ViT.
        adapters: by the names of their places.
    """
    hook = _add_to_output if kind.beside else _adapt_output
    for name, place in kind.places.items():
        # A partial, not a closure: a deep copy of the block then hooks its own adapters.
        block.get_submodule(place).register_forward_hook(partial(hook, adapters[name]))


def _adapt_output(adapter: Adapter, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    """Forward hook: the adapted output takes the place of the module's own."""
    return adapter(output)


def _add_to_output(adapter: Adapter, module: nn.Module, args: tuple, output: Tensor) -> Tensor:
    """Forward hook: what the adapter makes of the module's input is added to the output."""
    return output + adapter(*args)
