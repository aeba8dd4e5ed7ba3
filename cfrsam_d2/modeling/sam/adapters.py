"""The adapters of SAM's blocks by the names of MODEL.SAM.ADAPTER (Tables 7 and 8)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import nn

from .houlsby import HoulsbyAdapter
from .lora import LoRA
from .mala import MALA
from .static_mala import StaticMALA


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
