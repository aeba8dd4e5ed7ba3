"""A model whose networks are exported ones.

Its modules are those of its config, without weights; what they compute, exported networks do.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from ..errors import UserError
from ..modeling.mask_head import ImageMaps
from ..modeling.mask_head.head import DecodedPrompts
from ..modeling.meta_arch import CFRSAM, PromptLearner
from ..modeling.prompt_learner import PointPredictions
from ..modeling.prompt_learner.points import anchor_grid
from .exporting import FIXED, RECORD, SUFFIXES, check_torch, config_value
from .networks import LEAST_SIDE

Run = Callable[..., Sequence[Tensor]]


def use_networks(model: PromptLearner, cfg: CfgNode, folder: Path) -> None:
    """Let exported networks do what the modules of a model would do.

    Args:
        model: as built of `cfg`; its weights are let go. In place of them it has `exported`, a
            checksum, which tells it from models of other weights.
        cfg: of the run.
        folder: of `tools/export_model.py`.

    Raises:
        UserError: the networks are not all there, do not fit the config, or cannot be run here.
    """
    weights = _check_record(cfg, folder)
    for part in model.children():
        for module in part.modules():
            module._parameters.clear()
            module._buffers.clear()
    model.register_buffer("exported", torch.tensor(weights, device=model.device))
    generator = model.proposal_generator
    points = _network(folder, "points", model.device)

    def predict(images: Tensor, *, finds_mask: bool = True) -> PointPredictions:  # it always does
        height, width = images.shape[-2:]
        if min(height, width) < LEAST_SIDE:
            raise UserError(
                f"an image of {width}×{height} px is too small for the networks in {folder}: use "
                f"the weights, or images of more than {LEAST_SIDE - generator.pad_cell} px a side"
            )
        found, logits, mask_logits = points(images)
        anchors = anchor_grid(height, width, generator.anchor_stride, images.device)
        anchors = anchors.flatten(0, 1).expand(len(images), -1, -1)
        nothing = found[:, :, :0]  # neither descriptors nor levels leave the network
        return PointPredictions(anchors, found, logits, mask_logits, nothing, [])

    _put(generator, predict)
    if isinstance(model, CFRSAM):
        _use_networks_of_stage2(model, folder)


def _use_networks_of_stage2(model: CFRSAM, folder: Path) -> None:
    head = model.mask_head
    encoder, decoder = (_network(folder, name, model.device) for name in ("encoder", "decoder"))

    def encode(images: Tensor) -> ImageMaps:
        height, width = images.shape[-2:]
        return ImageMaps((height, width), *encoder(images))

    def decode(maps: ImageMaps, prompts: Tensor, prompt_image: Tensor) -> DecodedPrompts:
        return DecodedPrompts(*decoder(maps.embeddings, prompts, prompt_image))

    _put(model, encode)
    _put(head, decode)
    if head.class_head is not None:
        class_head = _network(folder, "class_head", model.device)
        _put(head.class_head, lambda *inputs: class_head(*inputs)[0], "forward")
    if head.bgmr is not None:
        _put(head.bgmr, _network(folder, "refiner", model.device), "forward")


def _put(module: nn.Module, method: Callable[..., Any], name: str = "") -> None:
    """Let a function take the place of the method of its name."""
    setattr(module, name or method.__name__, method)


def _check_record(cfg: CfgNode, folder: Path) -> int:
    """The checksum of the weights that were exported, if the config fits them."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
        exported: dict[str, Any] = record["config"]
        weights = int(record["weights"])
    except (OSError, ValueError, LookupError, TypeError):
        raise UserError(
            f"MODEL.WEIGHTS is the folder {folder} without a usable {RECORD}: name a file of "
            "weights, or a folder of tools/export_model.py"
        ) from None
    for key in FIXED:
        wanted = config_value(cfg, key)
        if exported.get(key) != wanted:
            raise UserError(
                f"the networks in {folder} were exported with {key} {exported.get(key)}, and the "
                f"run has {wanted}: export them with {key} {wanted}, or set it as it was"
            )
    return weights


def _network(folder: Path, name: str, device: torch.device) -> Run:
    """The network of a name, in whichever form it is there."""
    for form, suffix in SUFFIXES.items():
        path = folder / (name + suffix)
        if path.is_file():
            return load_onnx(path, device) if form == "onnx" else load_program(path, device)
    raise UserError(f"{folder} has no network {name!r}: export the model again")


def load_program(path: Path, device: torch.device) -> Run:
    """
    Raises:
        UserError: the file is damaged, or PyTorch too old.
    """
    check_torch()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of buffers that it only reads
            # Its guards hold it to the layout of memory of the example's sizes, such as more than
            # one attention window; its operations need none of that. Its inputs' sizes are checked.
            program = torch.export.load(path).module(check_guards=False).to(device)
    except Exception as error:
        raise _damaged(path, error) from None
    # A function: as a submodule it would be asked for another mode, which programs have not.
    return lambda *inputs: program(*inputs)


def load_onnx(path: Path, device: torch.device) -> Run:
    """To be run by ONNX Runtime, on the GPU if the model is there and this build of it can.

    Raises:
        UserError: the file is damaged, or ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UserError(f"{path} needs ONNX Runtime: pip install cfrsam_d2[export]") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see threads.py
    wanted = ["CPUExecutionProvider"]
    if device.type == "cuda":
        wanted.insert(0, "CUDAExecutionProvider")
    providers = [each for each in wanted if each in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:
        raise _damaged(path, error) from None
    names = [each.name for each in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        arrays = (each.detach().cpu().contiguous().numpy() for each in inputs)
        outputs: Any = session.run(None, dict(zip(names, arrays, strict=True)))
        return [torch.from_numpy(each).to(device) for each in outputs]

    return run


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be loaded ({error}): it is damaged, export the model again")
