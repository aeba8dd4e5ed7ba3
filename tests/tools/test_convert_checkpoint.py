"""What the authors released becomes the project's on the command line, wholly or not at all."""

import importlib.util
import json
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import Tensor, nn

from cfrsam_d2.checkpoint import convert_published_state_dict
from cfrsam_d2.checkpoint.checkpointer import load_weights
from cfrsam_d2.checkpoint.files import read_checkpoint
from cfrsam_d2.engine import build_trained_model, load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
sys.path.insert(0, str(ROOT / "tools"))
import convert_checkpoint as tool  # noqa: E402

Weights = dict[str, Tensor]


@pytest.fixture(scope="module")
def draw(fixtures: Path) -> Callable[[str], Weights]:
    """A function: a kind of checkpoint to its weights by the authors' names."""
    spec = importlib.util.spec_from_file_location("drawn", fixtures / "published_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda kind: {k: torch.as_tensor(v) for k, v in module.state_dict(kind).items()}


@pytest.fixture(scope="module")
def sizes(fixtures: Path) -> list[str]:
    """The overrides that make the two configs those of the tiny models."""
    manifest = json.loads((fixtures / "manifest.json").read_text())
    stage1, stage2 = manifest["stage1_tiny.npz"], manifest["stage2_tiny_128.npz"]
    learner, sam = "MODEL.PROMPT_LEARNER.", "MODEL.SAM."
    names = ("embed_dim", "depth", "num_heads", "global_attn_indexes")
    values = {sam + name.upper(): stage2[name] for name in names}
    values[sam + "ATTENTION_WINDOW"] = stage2["window_size"]
    values[sam + "ADAPTER_RANK"] = stage2["mala_rank"]
    names = ("dims", "depths", "hidden_dim", "num_classes", "num_levels", "anchor_stride")
    values |= {learner + name.upper(): stage1[name] for name in names}
    values |= {"MODEL.DEVICE": "cpu"}
    return [str(each) for pair in values.items() for each in pair]


def config(stage: int, sizes: list[str]) -> list[str]:
    name = "prompt_learner" if stage == 1 else "cfrsam_b"
    return ["--config-file", str(CONFIGS / f"{name}.yaml"), *sizes]


def tiny_model(stage: int, sizes: list[str]) -> tuple[CfgNode, nn.Module]:
    _, path, *overrides = config(stage, sizes)
    cfg = load_config(path, overrides)
    return cfg, build_model(cfg).eval()


def arrays(path: Path) -> dict[str, Tensor]:
    with np.load(path) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def save(checkpoint: object, folder: Path, name: str = "released.pth") -> str:
    torch.save(checkpoint, folder / name)
    return str(folder / name)


def fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What the tool says on its way out with status 2."""
    with pytest.raises(SystemExit) as end:
        tool.main(arguments)
    assert end.value.code == 2
    return capsys.readouterr().err


@torch.no_grad()
def test_stage_1_computes_what_the_published_model_does(
    draw: Callable,
    sizes: list[str],
    fixtures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """From a file with all that a training of the authors' writes."""
    weights = draw("stage1_tiny")
    released = {
        "model": {name: torch.zeros_like(each) for name, each in weights.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]},
        "f1": np.float64(0.7),
        "epoch": 3,
        "args": Namespace(config="pannuke123.py", seed=42, resume=None),
        "model_ema": {f"module.{name}": each for name, each in weights.items()},
    }
    out = tmp_path / "stage1.pth"
    tool.main([save(released, tmp_path), str(out), *config(1, sizes)])
    assert "entry 'model_ema' (not used: model, optimizer, f1, epoch, args)" in (
        capsys.readouterr().out
    )

    _, model = tiny_model(1, sizes)
    load_weights(model, str(out))
    expected = arrays(fixtures / "stage1_tiny.npz")
    actual = model.proposal_generator.predict(expected["normalized"])
    assert_close(actual.points, expected["pred_points"])
    assert_close(actual.logits, expected["pred_logits"])
    assert_close(actual.mask_logits[:, None], expected["pred_mask_logits"])


@torch.no_grad()
def test_stage_2_computes_what_the_published_model_does(
    draw: Callable,
    sizes: list[str],
    fixtures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Merged with stage 1, and alone with stage 1 from its own file."""
    metrics = {"PQ": np.float64(0.5), "per_class": [np.float32(0.1)]}
    released = save({"model": draw("stage2_tiny"), "epoch": 1, "metrics": metrics}, tmp_path)
    stage1 = save(draw("stage1_tiny"), tmp_path, "stage1_released.pth")
    whole, alone = str(tmp_path / "whole.pth"), str(tmp_path / "alone.pth")
    tool.main([released, whole, "--prompt-learner", stage1, *config(2, sizes)])
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines()]
    assert ["skipped", "(unused)", "deep_out_conv", "8", "4,690"] in rows
    assert ["mask_head.fusion", "fusion_block.attn_conv", "24", "266,244"] in rows
    tool.main([released, alone, *config(2, sizes)])
    tool.main([stage1, str(tmp_path / "stage1.pth"), *config(1, sizes)])

    cfg, model = tiny_model(2, sizes)
    cfg.MODEL.WEIGHTS = whole
    merged = build_trained_model(cfg).state_dict()
    cfg.MODEL.WEIGHTS = alone
    cfg.MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS = str(tmp_path / "stage1.pth")
    assert all(
        torch.equal(each, merged[name])
        for name, each in build_trained_model(cfg).state_dict().items()
    )

    model.load_state_dict(merged)
    expected = arrays(fixtures / "stage2_tiny_128.npz")
    images = torch.stack([model.normalize(each) for each in expected["images"].permute(0, 3, 1, 2)])
    counts = expected["counts"]
    predictions = model.mask_head.predict(
        model.mask_head.encode(images, model.backbone(images)),
        expected["points"],
        torch.arange(len(counts)).repeat_interleave(counts),
    )
    assert_close(predictions.logits["initial"], expected["initial_logits"])
    assert_close(predictions.logits["refined"], expected["refined_logits"])
    assert_close(predictions.decoded.pred_iou, expected["iou"])
    assert_close(
        model.proposal_generator.predict(images[:1]).logits,
        tiny_stage1(draw, sizes).predict(images[:1]).logits,
    )


def tiny_stage1(draw: Callable, sizes: list[str]) -> nn.Module:
    """The prompt learner with the drawn weights, which the first test compares to the published."""
    _, model = tiny_model(1, sizes)
    model.load_state_dict(convert_published_state_dict(draw("stage1_tiny")))
    return model.proposal_generator


FULL_SIZE = {
    "stage1": ("prompt_learner", []),
    "stage1_cpm17": (
        "prompt_learner",
        ["MODEL.PROMPT_LEARNER.NUM_LEVELS", "4", "MODEL.PROMPT_LEARNER.NUM_CLASSES", "1"],
    ),
    "stage2_b": ("cfrsam_b", []),
    "stage2_h": ("cfrsam_h", []),
}


@pytest.mark.parametrize("kind", FULL_SIZE)
def test_full_size_is_covered(fixtures: Path, kind: str, tmp_path: Path):
    """Each tensor is one number of its own, repeated: of full size, yet small on disk."""
    names = json.loads((fixtures / f"{kind}_names.json").read_text())
    weights = {
        name: torch.tensor(i if name.endswith("num_batches_tracked") else float(i)).expand(shape)
        for i, (name, shape) in enumerate(names.items())
    }
    file, overrides = FULL_SIZE[kind]
    out = tmp_path / "out.pth"
    tool.main(
        [save(weights, tmp_path), str(out), "--config-file", f"{CONFIGS}/{file}.yaml", *overrides]
    )
    written = read_checkpoint(str(out))
    numbers = sorted(float(each.max()) for each in written["model"].values())
    assert numbers == [i for i, name in enumerate(names) if not name.startswith("deep_out_conv.")]
    assert written.get("left_out", {}) == (
        {"proposal_generator.": None} if kind.startswith("stage2") else {}
    )


def test_a_file_that_does_not_fit_leaves_nothing(
    draw: Callable, sizes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    weights = draw("stage2_tiny")
    name = "mask_decoder.iou_token.weight"
    out = str(tmp_path / "out.pth")
    bad = {
        r"1 missing (first: mask_head.mask_decoder.iou_token.weight)": {
            k: v for k, v in weights.items() if k != name
        },
        r"1 unexpected (first: mask_head.mask_decoder.more)": weights
        | {"mask_decoder.more": torch.zeros(1)},
        r"1 of another shape (first: mask_head.mask_decoder.iou_token.weight is (2, 256) there "
        "and (1, 256) here)": weights | {name: torch.zeros(2, 256)},
        "1 names are not of a released stage 2": weights | {"more": torch.zeros(1)},
    }
    for message, changed in bad.items():
        assert message in fails([save(changed, tmp_path), out, *config(2, sizes)], capsys)
    assert "is of stage 2, the config of stage 1" in fails(
        [save(weights, tmp_path), out, *config(1, sizes)], capsys
    )
    assert "docs/model-zoo.md says which" in fails(
        [save(weights, tmp_path), out, *config(2, [])], capsys
    )
    assert [path.name for path in tmp_path.iterdir()] == ["released.pth"]


def test_what_cannot_be_converted_is_named(
    draw: Callable, sizes: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    stage1, stage2 = draw("stage1_tiny"), draw("stage2_tiny")
    first, second = save(stage1, tmp_path, "1.pth"), save(stage2, tmp_path, "2.pth")
    out = str(tmp_path / "out.pth")
    for arguments, message in {
        (first, first): "1.pth would be overwritten: give OUT another name",
        (first, f"{tmp_path}/none/out.pth"): "none does not exist: make it, or let OUT name",
        (save(draw("mala"), tmp_path), out): "is one module of the model",
        (save({"model": {}}, tmp_path, "0.pth"), out): "0.pth holds no weights",
        (save(Path("x"), tmp_path, "x.pth"), out): "could run code",
        (second, out, "--prompt-learner", second): "are not one checkpoint of stage 1 and one of",
        (first, out, "--prompt-learner", first): "are not one checkpoint of stage 1 and one of",
    }.items():
        assert message in fails([*arguments, *config(2, sizes)], capsys), arguments
    assert not Path(out).exists()
