"""What the project needs of Detectron2, name by name, and a description of it to compare.

As a program, with the name of a folder, it describes the `detectron2` of that folder in JSON.
"""

import importlib
import inspect
import json
import sys
from typing import Any

NAMES = {
    "detectron2.checkpoint": ["DetectionCheckpointer"],
    "detectron2.config": ["CfgNode", "configurable", "get_cfg"],
    "detectron2.data": [
        "DatasetCatalog",
        "DatasetFromList",
        "MapDataset",
        "MetadataCatalog",
        "build_detection_test_loader",
        "build_detection_train_loader",
        "get_detection_dataset_dicts",
    ],
    "detectron2.data.samplers": ["InferenceSampler"],
    "detectron2.engine": [
        "DefaultTrainer",
        "HookBase",
        "SimpleTrainer",
        "TrainerBase",
        "create_ddp_model",
        "default_setup",
        "launch",
    ],
    "detectron2.engine.hooks": [
        "IterationTimer",
        "LRScheduler",
        "PeriodicCheckpointer",
        "PeriodicWriter",
    ],
    "detectron2.evaluation": ["DatasetEvaluator", "inference_on_dataset", "print_csv_format"],
    "detectron2.evaluation.testing": ["flatten_results_dict"],
    "detectron2.layers": ["ShapeSpec", "batched_nms"],
    "detectron2.modeling": [
        "BACKBONE_REGISTRY",
        "META_ARCH_REGISTRY",
        "PROPOSAL_GENERATOR_REGISTRY",
        "build_backbone",
        "build_model",
        "build_proposal_generator",
    ],
    "detectron2.modeling.backbone": ["Backbone"],
    "detectron2.solver": ["build_lr_scheduler", "get_default_optimizer_params"],
    "detectron2.solver.build": ["maybe_add_gradient_clipping"],
    "detectron2.structures": ["BitMasks", "BoxMode", "Boxes", "ImageList", "Instances"],
    "detectron2.utils.collect_env": ["collect_env_info"],
    "detectron2.utils.comm": [
        "all_gather",
        "create_local_process_group",
        "gather",
        "get_local_rank",
        "get_rank",
        "get_world_size",
        "is_main_process",
        "synchronize",
    ],
    "detectron2.utils.env": ["seed_all_rng"],
    "detectron2.utils.events": [
        "CommonMetricPrinter",
        "EventStorage",
        "EventWriter",
        "JSONWriter",
        "TensorboardXWriter",
        "get_event_storage",
    ],
    "detectron2.utils.logger": ["setup_logger"],
}


def describe() -> dict[str, Any]:
    """The parameters of every callable in `NAMES` and of its public methods; enums' members."""
    described: dict[str, Any] = {}
    for path, names in NAMES.items():
        for name in names:
            described.update(
                _describe(f"{path}.{name}", getattr(importlib.import_module(path), name))
            )
    return described


def default_config() -> dict[str, Any]:
    """Every key of the default config, with its value and the value's type."""
    from detectron2.config import get_cfg

    return dict(_leaves(get_cfg()))


def _leaves(node: dict, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, repr(value)


def _describe(path: str, thing: Any) -> dict[str, Any]:
    if inspect.isfunction(thing) or hasattr(thing, "__wrapped__"):
        return {path: _parameters(thing)}
    owner = thing if inspect.isclass(thing) else type(thing)
    if hasattr(owner, "__members__"):
        return {path: {name: int(member) for name, member in owner.__members__.items()}}
    found = {path: owner.__name__}
    for name in dir(owner):
        attribute = getattr(owner, name)
        module = getattr(attribute, "__module__", None) or ""
        own = name in vars(owner) or module.startswith("detectron2")
        public = name == "__init__" or not name.startswith("_")
        if public and own and callable(attribute):
            found[f"{path}.{name}"] = _parameters(attribute)
    return found


def _parameters(function: Any) -> list[tuple[str, str, str]]:
    return [
        (each.name, each.kind.name, "" if each.default is each.empty else repr(each.default))
        for each in inspect.signature(function).parameters.values()
    ]


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    print(json.dumps({"names": describe(), "config": default_config()}))
