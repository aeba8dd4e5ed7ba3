"""Turn a checkpoint that the authors released into the project's own, completely or not at all."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import takewhile

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor

from ..errors import UserError
from .checkpointer import describe_differences
from .files import read_file, require_state_dict
from .released import convert_published_state_dict

STAGE1 = ("proposal_generator.",)
STAGE2 = ("backbone.", "mask_head.")
# Where a file's weights can be, the averaged ones first: they are what the authors evaluated.
_ENTRIES = ("model_ema", "ema", "model")


@dataclass(frozen=True)
class Part:
    """Weights of a file that went to one part of the model.

    Attributes:
        name: the part of the model; empty for weights that were skipped.
        source: what their names in the file have in common.
        entries: how many tensors.
        numbers: how many they hold, running statistics included.
    """

    name: str
    source: str
    entries: int
    numbers: int


@dataclass(frozen=True)
class Conversion:
    """The weights of a file, by the project's names.

    Attributes:
        path: of the file.
        entry: the entry of the file that the weights are from; empty for a bare state dict.
        other_entries: what else is in the file.
        weights: by the project's names.
        parts: where they went.
    """

    path: str
    entry: str
    other_entries: list[str]
    weights: dict[str, Tensor]
    parts: list[Part]

    @property
    def stage(self) -> int:
        return 1 if all(name.startswith(STAGE1) for name in self.weights) else 2


def convert_file(path: str) -> Conversion:
    """Read a released checkpoint of either stage, or one of the project's, by the project's names.

    Nothing is copied: the weights stay on disk until they are used.

    Raises:
        UserError: the file cannot be read, or is no checkpoint of one of the two stages.
    """
    loaded = read_file(path)
    entry = next((each for each in _ENTRIES if isinstance(loaded, dict) and each in loaded), "")
    others = [str(each) for each in loaded if each != entry] if entry else []
    released = require_state_dict(loaded[entry] if entry else loaded, path)
    if entry == "ema":  # the project's own averages are of what trains; the rest is in "model"
        released = {**require_state_dict(loaded.get("model"), path), **released}
    released = {name.removeprefix("module."): each for name, each in released.items()}
    renamed = _renamed(released)
    weights = {new: released[old] for new, old in renamed.items()}
    if not all(name.startswith(STAGE1 + STAGE2) for name in weights):
        raise UserError(
            f"{path} is one module of the model: give a checkpoint of stage 1 or stage 2"
        )
    return Conversion(path, entry, others, weights, _list_parts(released, renamed))


def check_fit(conversion: Conversion, cfg: CfgNode) -> None:
    """
    Raises:
        UserError: the weights do not fill the model of `cfg`, or their stage of it, exactly.
    """
    if conversion.stage == 2 and cfg.MODEL.META_ARCHITECTURE != "CFRSAM":
        raise UserError(
            f"{conversion.path} is of stage 2, the config of stage 1 "
            f"({cfg.MODEL.META_ARCHITECTURE}): use configs/cfrsam_b.yaml or cfrsam_h.yaml"
        )
    own = model_weights(cfg)
    if conversion.stage == 1:
        own = {name: each for name, each in own.items() if name.startswith(STAGE1)}
    elif not any(name.startswith(STAGE1) for name in conversion.weights):
        own = {name: each for name, each in own.items() if name.startswith(STAGE2)}
    if found := describe_differences(own, conversion.weights):
        raise UserError(
            f"{conversion.path} does not fit the config, {found}: use the config of its encoder "
            "and its dataset (docs/model-zoo.md says which)"
        )


def model_weights(cfg: CfgNode) -> dict[str, Tensor]:
    """Names and shapes of the weights of the model of `cfg`, which take no memory.

    Raises:
        UserError: a key names a part that there is not.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg).state_dict()


def merge_stages(stage1: Conversion, stage2: Conversion) -> dict[str, Tensor]:
    """The weights of the whole of CFR-SAM.

    Raises:
        UserError: these are not one checkpoint of each stage.
    """
    if stage1.stage != 1 or any(name.startswith(STAGE1) for name in stage2.weights):
        raise UserError(
            f"{stage1.path} and {stage2.path} are not one checkpoint of stage 1 and one of stage "
            "2: let --prompt-learner name that of stage 1"
        )
    return {**stage1.weights, **stage2.weights}


def _renamed(names: Collection[str]) -> dict[str, str]:
    """The file's names by the project's, the unused head's left out."""
    if any(name.startswith(("proposal_generator.", "mask_head.mask_decoder.")) for name in names):
        return {name: name for name in names}  # the project's own
    return convert_published_state_dict({name: name for name in names})


def _list_parts(released: Mapping[str, Tensor], renamed: Mapping[str, str]) -> list[Part]:
    groups: dict[str, list[str]] = {}
    for new, old in renamed.items():
        groups.setdefault(".".join(new.split(".")[:2]), []).append(old)
    if skipped := [name for name in released if name not in {*renamed.values()}]:
        groups[""] = skipped
    return [
        Part(
            name=name,
            source=_common_prefix(olds),
            entries=len(olds),
            numbers=sum(released[old].numel() for old in olds),
        )
        for name, olds in groups.items()
    ]


def _common_prefix(names: list[str]) -> str:
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    return ".".join(level[0] for level in takewhile(lambda level: len({*level}) == 1, levels))
