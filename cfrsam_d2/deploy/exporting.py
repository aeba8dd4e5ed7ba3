"""Write the networks of a model as files, for ONNX Runtime or as programs of `torch.export`."""

import warnings
from functools import reduce
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from detectron2.config import CfgNode
from torch.torch_version import TorchVersion
from tqdm import tqdm

from .._version import __version__
from ..checkpoint.frozen import checksum
from ..errors import UserError
from ..files import write_json
from ..modeling.meta_arch import PromptLearner
from .networks import Network, networks_of

RECORD = "export.json"  # what was exported, beside the networks
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2"}
OPSET = 20
LEAST_TORCH = "2.9"  # before, a program was bound to more than its sizes
# What the networks are made with, so that a config cannot change it afterwards.
FIXED = (
    "MODEL.META_ARCHITECTURE",
    "MODEL.BACKBONE.NAME",
    "MODEL.CFRSAM.NEGATIVE_PROMPTS",
    "MODEL.MASK_HEAD.CLASS_HEAD",
    "MODEL.MASK_HEAD.REFINEMENT",
    "MODEL.PROMPT_LEARNER.ANCHOR_STRIDE",
    "MODEL.PROMPT_LEARNER.NUM_CLASSES",
    "MODEL.PROMPT_LEARNER.SAMPLING",
    "MODEL.PROPOSAL_GENERATOR.NAME",
)


def export_networks(model: PromptLearner, cfg: CfgNode, folder: Path, form: str) -> None:
    """Write a file for each network of a model in eval mode, and the record of them all.

    Args:
        model: of either stage.
        cfg: of the model.
        folder: which exists.
        form: "onnx", "int8" (ONNX, too) or "torch".

    Raises:
        UserError: the model cannot be exported, or what that takes is not installed.
    """
    check_torch()
    write = {"onnx": write_onnx, "int8": write_int8, "torch": write_program}[form]
    suffix = SUFFIXES["torch" if form == "torch" else "onnx"]
    for network in tqdm([*networks_of(model)], "networks", leave=False):
        path = folder / (network.name + suffix)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of the exporters, about themselves
            write(network, exported_program(network), path)
    record = {
        "weights": checksum(model, ""),
        "config": {key: config_value(cfg, key) for key in FIXED},
        "versions": {"cfrsam_d2": __version__, "torch": torch.__version__},
    }
    write_json(folder / RECORD, record)


def check_torch() -> None:
    """
    Raises:
        UserError: this PyTorch is too old to export, or to run programs.
    """
    version = TorchVersion(torch.__version__)
    if version < LEAST_TORCH:
        raise UserError(
            f"PyTorch {version} is too old for programs of torch.export: it takes {LEAST_TORCH} or "
            "newer, pip install cfrsam_d2[export]"
        )


def config_value(cfg: CfgNode, key: str) -> Any:
    """The value of a key such as "MODEL.MASK_HEAD.REFINEMENT"."""
    return reduce(getattr, key.split("."), cfg)


def exported_program(network: Network) -> torch.export.ExportedProgram:
    """A network as a graph for inputs of any of its sizes."""
    return torch.export.export(
        network.module, tuple(network.inputs.values()), dynamic_shapes=network.sizes, strict=False
    )


def write_program(network: Network, program: torch.export.ExportedProgram, path: Path) -> None:
    """Write it for `torch.export`."""
    torch.export.save(program, path)


def write_onnx(network: Network, program: torch.export.ExportedProgram, path: Path) -> None:
    """Write it as an ONNX file.

    Raises:
        UserError: the exporter is not installed.
    """
    try:
        exported = torch.onnx.export(
            program, dynamo=True, opset_version=OPSET, input_names=[*network.inputs], verbose=False
        )
    except ImportError:
        raise UserError(
            "exporting to ONNX needs onnx and onnxscript: pip install cfrsam_d2[export], or export "
            "with --form torch"
        ) from None
    assert exported is not None
    exported.save(path)


def write_int8(network: Network, program: torch.export.ExportedProgram, path: Path) -> None:
    """Write it as an ONNX file; of an encoder with linear layers in 8-bit integers.

    Weights have a scale for each output, inputs one for each call. Weights are of 7 bits: sums of 8
    overflow on processors without VNNI.

    Raises:
        UserError: ONNX Runtime is not installed, or see `write_onnx`.
    """
    if network.name != "encoder":
        write_onnx(network, program, path)
        return
    try:
        from onnxruntime.quantization import QuantType, quantize_dynamic
    except ImportError:
        raise UserError(
            "exporting with --form int8 needs ONNX Runtime: pip install cfrsam_d2[export]"
        ) from None
    with TemporaryDirectory(dir=path.parent) as folder:
        exact = Path(folder) / path.name
        write_onnx(network, program, exact)
        quantize_dynamic(
            exact,
            path,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
