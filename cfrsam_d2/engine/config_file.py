"""From a config file and a command line to a config whose keys are usable."""

import difflib
import logging
import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, get_cfg

from ..config import add_cfrsam_config, custom_dataset
from ..data.registration import register_custom_datasets
from ..errors import UserError
from .checks import check_keys, check_precision, check_registered, dataset_names
from .config_values import typed_value
from .yaml_file import read_config_file

logger = logging.getLogger(__name__)

# Keys of earlier versions, and what they are called now; None: nothing took their place.
RENAMED_KEYS = {
    "MODEL.SAM.WINDOW_SIZE": "MODEL.SAM.ATTENTION_WINDOW",
    "MODEL.CFRSAM.WINDOW_SIZE": "MODEL.SLIDING_WINDOW.SIZE",
    "MODEL.CFRSAM.WINDOW_OVERLAP": "MODEL.SLIDING_WINDOW.OVERLAP",
    "MODEL.CFRSAM.EDGE_TOLERANCE": "MODEL.SLIDING_WINDOW.EDGE_TOLERANCE",
    "MODEL.CFRSAM.WINDOWS_PER_BATCH": "MODEL.SLIDING_WINDOW.BATCH",
    "MODEL.COMPILE": None,
    "MODEL.CHANNELS_LAST": None,
}


def load_config(config_file: str, overrides: Sequence[str] = ()) -> CfgNode:
    """Read a config file, override keys of it, register its datasets; and check all that.

    Where CUDA is wanted and there is none, the config asks for the CPU.

    Args:
        config_file: a YAML of Detectron2's and this project's keys; `_BASE_` names one it extends.
        overrides: key, value, key, value, … as typed on a command line.

    Returns:
        The config; not frozen.

    Raises:
        UserError: the file is missing or is no such YAML, a key does not exist or has an unusable
            value, a dataset is not registered, or the GPU has not the wanted precision.
    """
    cfg = get_cfg()
    add_cfrsam_config(cfg)
    defaults = cfg.clone()
    _merge(cfg, leaves(read_config_file(config_file)), defaults, config_file)
    _merge(cfg, _pairs(overrides), defaults, "the command line")
    if cfg.MODEL.DEVICE.startswith("cuda") and not torch.cuda.is_available():
        logger.warning("MODEL.DEVICE is %s, but there is no CUDA: using cpu", cfg.MODEL.DEVICE)
        cfg.MODEL.DEVICE = "cpu"
    check_keys(cfg)
    check_precision(cfg)
    register_custom_datasets(cfg)
    for key, name in dataset_names(cfg):
        check_registered(key, name)
    return cfg


def load_config_for(
    config_file: str, overrides: Sequence[str], dataset: str | None
) -> tuple[CfgNode, str]:
    """Read a config, as `load_config`, to use its model on one dataset.

    Args:
        config_file, overrides: see `load_config`.
        dataset: of --dataset; None: the first of DATASETS.TEST.

    Returns:
        The config, with the dataset alone in DATASETS.TEST if it was named, and the dataset.

    Raises:
        UserError: see `load_config`; or no dataset is named.
    """
    # As a part of the config, the dataset is checked with it: its name, and that classes fit.
    chosen = ["DATASETS.TEST", repr((dataset,))] if dataset else []
    cfg = load_config(config_file, [*overrides, *chosen])
    if not cfg.DATASETS.TEST:
        raise UserError("DATASETS.TEST is empty: let --dataset name a registered dataset")
    return cfg, cfg.DATASETS.TEST[0]


def _pairs(overrides: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The keys and values of a command line."""
    for option in overrides:
        if option.startswith("--"):
            raise UserError(f"{option} stands after a KEY VALUE pair: put it before them")
    if len(overrides) % 2:
        raise UserError(f"{overrides[-1]} has no value: give KEY VALUE pairs")
    return zip(overrides[::2], overrides[1::2], strict=True)


def _merge(cfg: CfgNode, pairs: Iterable[tuple[str, Any]], defaults: CfgNode, source: str) -> None:
    for key, value in pairs:
        if name := re.fullmatch(r"DATASETS\.CUSTOM\.([A-Z][A-Z0-9_]*)\.(JSON|IMAGES)", key):
            for node in (cfg, defaults):
                node.DATASETS.CUSTOM.setdefault(name[1], custom_dataset())
        _require_key(cfg, key, source)
        value = typed_value(key, value, operator.attrgetter(key)(defaults), source)
        # In quotes, a text that looks like a number stays one.
        cfg.merge_from_list([key, repr(value) if isinstance(value, str) else value])


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys below a node, with points between their parts, and their values."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _is_leaf(node: CfgNode, key: str) -> bool:
    """Whether `key` is one of `leaves(node)`."""
    value: Any = node
    for name in key.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return not isinstance(value, Mapping) or not value


def _require_key(cfg: CfgNode, key: str, source: str) -> None:
    if _is_leaf(cfg, key):
        return
    valid = [name for name, _ in leaves(cfg)]
    if key in RENAMED_KEYS:
        new = RENAMED_KEYS[key]
        remedy = f"is {new} now: rename it" if new else "is gone: leave it out"
        raise UserError(f"{source} has {key}, which {remedy}")
    nearest = difflib.get_close_matches(key, valid, n=1, cutoff=0)[0]
    raise UserError(f"{source} has {key}, which is no config key: did you mean {nearest}?")
