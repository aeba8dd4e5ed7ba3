"""Configs with which nothing could be trained, or nothing good: they are refused before."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode

from cfrsam_d2.data.registration import register_nucleus_json, unregister
from cfrsam_d2.engine.checks import check_training
from cfrsam_d2.errors import UserError


@pytest.mark.parametrize("key", ["SOLVER.AMP.ENABLED", "TEST.AMP.ENABLED"])
def test_a_gpu_without_bfloat16(
    key: str, toy_config: Callable[..., CfgNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    for has_it, capability in ((True, (8, 6)), (False, (7, 5))):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda of=capability: of)
        assert toy_config("MODEL.DEVICE", "cuda").MODEL.DEVICE == "cuda"
        assert toy_config(key, "True", "MODEL.DEVICE", "cpu").MODEL.DEVICE == "cpu"
        if has_it:
            toy_config(key, "True", "MODEL.DEVICE", "cuda")
    with pytest.raises(UserError, match=rf"{key} is True, but Tesla T4 has no bfloat16.*False"):
        toy_config(key, "True", "MODEL.DEVICE", "cuda")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("PROMPT_LEARNER.BACKBONE", "resnet50", "'resnet50': take a ConvNeXt of timm, .* such as"),
        ("PROMPT_LEARNER.BACKBONE", "convnext_gigantic", "'convnext_gigantic': take a ConvNeXt"),
        ("PROMPT_LEARNER.BACKBONE", "convnext_small.fb_in99k", "'convnext_small.fb_in99k': take a"),
        ("PROMPT_LEARNER.NUM_LEVELS", "5", "5: choose 1 to 4"),
        ("PROMPT_LEARNER.ANCHOR_STRIDE", "0", "0: give 1 px or more"),
        ("SAM.ADAPTER_RANK", "0", "0: give 1 or more"),
        ("MASK_HEAD.CROP_SIZES", "[64, 30]", r"\[64, 30\]: give positive multiples of 4 px"),
        ("MASK_HEAD.CROP_SIZES", "[0]", r"\[0\]: give positive multiples of 4 px"),
        ("MASK_HEAD.TRAIN_CROP_SIZES", "[30]", r"\[30\]: give positive multiples of 4 px"),
        ("CFRSAM.NEGATIVE_PROMPTS", "-1", "-1: give 0 or more"),
        ("MASK_HEAD.FINAL_MASK", "best", "'best': choose one of refined, initial"),
        ("SLIDING_WINDOW.OVERLAP", "256", "256 with windows of 256: give px from 0 to below SIZE"),
        ("SLIDING_WINDOW.OVERLAP", "-1", "-1 with windows of 256: give px from 0 to below SIZE"),
    ],
)
def test_values_that_a_key_of_the_model_cannot_have(
    key: str, value: str, message: str, toy_config: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UserError, match=f"^MODEL.{key} is {message}"):
        toy_config(f"MODEL.{key}", value)


def test_a_shared_encoder_reads_three_levels(toy_config: Callable[..., CfgNode]) -> None:
    keys = ["MODEL.BACKBONE.NAME", "SharedEncoder", "MODEL.PROMPT_LEARNER.NUM_LEVELS", "4"]
    with pytest.raises(UserError, match=r"NUM_LEVELS is 4: .*SharedEncoder reads 3"):
        toy_config(*keys)


def test_what_is_no_radius(toy_config: Callable[..., CfgNode]) -> None:
    for value in ("0.0", "-3.0"):
        with pytest.raises(UserError, match=r"^TEST.CLASS_F1_RADIUS is .*: give px at 40x above"):
            toy_config("TEST.CLASS_F1_RADIUS", value)


def test_what_is_no_magnification(toy_config: Callable[..., CfgNode]) -> None:
    assert toy_config("INPUT.MAGNIFICATION", "20").INPUT.MAGNIFICATION == 20
    with pytest.raises(UserError, match=r"^INPUT.MAGNIFICATION is -20: give the objective's"):
        toy_config("INPUT.MAGNIFICATION", "-20")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["DATASETS.TRAIN", "()"], r"DATASETS\.TRAIN is empty: name a registered dataset"),
        (["DATASETS.VAL", "('toy_val', 'toy_test')"],
         r"toy_test is in DATASETS\.VAL and in DATASETS\.TEST: .* take a test set"),
        (["MODEL.PROMPT_LEARNER.NUM_CLASSES", "5"],
         r"NUM_CLASSES is 5, but toy_train has 2 classes \(round, long\): set it to 2"),
        (["TEST.EARLY_STOPPING_PATIENCE", "-1"],
         r"EARLY_STOPPING_PATIENCE is -1: give a number of evaluations, or 0 to train all"),
        (["TEST.EARLY_STOPPING_PATIENCE", "3", "DATASETS.VAL", "()"],
         r"EARLY_STOPPING_PATIENCE is 3, but DATASETS\.VAL is \(\) and .*: name a validation set"),
        (["TEST.EARLY_STOPPING_PATIENCE", "3", "TEST.EVAL_PERIOD", "0"],
         r"EARLY_STOPPING_PATIENCE is 3, but .* TEST\.EVAL_PERIOD is 0: name .* the iterations"),
        (["TEST.BEST_METRIC", "detection/f1"],
         r"BEST_METRIC 'detection/f1' is not .*: use one of .*detection/mean_class_F1"),
        (["TEST.BEST_METRIC", "segmentation/bPQ", "MODEL.META_ARCHITECTURE", "PromptLearner"],
         r"BEST_METRIC 'segmentation/bPQ' is not .*: use one of detection/P, "),
    ],
)  # fmt: skip
def test_cannot_train(
    overrides: list[str], message: str, toy_config: Callable[..., CfgNode]
) -> None:
    with pytest.raises(UserError, match=message):
        check_training(toy_config(*overrides))


# Keys of a training, and values that they cannot have: toy trainings have 8 iterations.
IMPOSSIBLE = {
    "SOLVER.STEPS": ["(8,)", "(9,)", "(3, 2)", "(2, 2)", "(0,)", "(-1,)", "(2, 30000)"],
    "SOLVER.MAX_ITER": ["0", "-5"],
    "SOLVER.WARMUP_ITERS": ["9", "-1"],
    "SOLVER.WARMUP_METHOD": ["none"],
    "SOLVER.WARMUP_FACTOR": ["-0.1"],
    "SOLVER.LR_SCHEDULER_NAME": ["Linear"],
    "SOLVER.OPTIMIZER": ["SGD"],
    "SOLVER.BASE_LR": ["0", "-1.0", "1e999", "-1e999"],
    "SOLVER.GAMMA": ["0.0", "-0.1", "1e999"],
    "SOLVER.WEIGHT_DECAY": ["-1.0"],
    "SOLVER.WEIGHT_DECAY_NORM": ["-1.0"],
    "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": ["all"],
    "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": ["0.0"],
    "SOLVER.EMA_DECAY": ["1.0", "-0.1", "2"],
    "SOLVER.CHECKPOINT_PERIOD": ["0", "-1"],
    "SOLVER.IMS_PER_BATCH": ["0", "-4"],
    "TEST.EVAL_PERIOD": ["-1"],
    "TEST.CLASS_F1_RADIUS": ["0", "1e999"],
    "SEED": ["-1"],
    "DATALOADER.NUM_WORKERS": ["-1"],
    "INPUT.TRAIN_CROP_SIZE": ["-1"],
    "INPUT.AUGMENTATION": ["more"],
    "MODEL.META_ARCHITECTURE": ["GeneralizedRCNNN"],
    "MODEL.DEVICE": ["gpu", ""],
    "MODEL.PIXEL_MEAN": ["[1.0]"],
    "MODEL.PIXEL_STD": ["[1.0, 0.0, 1.0]"],
    "MODEL.PROMPT_LEARNER.NUM_CLASSES": ["0"],
    "MODEL.PROMPT_LEARNER.DEPTHS": ["[1, 1]", "[1, 1, 0, 1]"],
    "MODEL.PROMPT_LEARNER.CLASS_WEIGHTS": ["[1.0]", "[1, 1, 1]", "[1, 0]", "[-1, 1]", "[1, 1e999]"],
    "MODEL.SAM.EMBED_DIM": ["767", "0"],
    "MODEL.SAM.NUM_HEADS": ["0"],
    "MODEL.CFRSAM.NMS_THRESH": ["1.5", "-0.5"],
    "MODEL.CFRSAM.MERGE_OVERLAP": ["1.1", "-0.5"],
    "MODEL.CFRSAM.MIN_BORDER_AREA": ["-1"],
    "MODEL.CFRSAM.MAX_TRAIN_NUCLEI": ["0"],
    "MODEL.SLIDING_WINDOW.BATCH": ["0"],
    "MODEL.SLIDING_WINDOW.FRAME": ["0", "-32", "100"],
    "MODEL.MASK_HEAD.PROMPTS_PER_CHUNK": ["0"],
    "MODEL.MASK_HEAD.FOCAL_WEIGHT": ["-1.0", "1e999"],
}


def test_what_cannot_be_is_named_with_its_value(toy_config: Callable[..., CfgNode]) -> None:
    for key, values in IMPOSSIBLE.items():
        for value in values:
            with pytest.raises(UserError) as error:
                check_training(toy_config(key, value))
            assert str(error.value).startswith(f"{key} is "), (key, value, error.value)
            assert "\n" not in str(error.value)


def test_what_can_just_be(toy_config: Callable[..., CfgNode]) -> None:
    check_training(
        toy_config(
            *("SOLVER.STEPS", "(1, 7)", "SOLVER.WARMUP_ITERS", "8", "SOLVER.EMA_DECAY", "0"),
            *("TEST.EVAL_PERIOD", "0", "SOLVER.CHECKPOINT_PERIOD", "1", "SEED", "0"),
            *("MODEL.PROMPT_LEARNER.CLASS_WEIGHTS", "[0.5, 2]", "MODEL.CFRSAM.MERGE_OVERLAP", "1"),
        )
    )
    cosine = ("SOLVER.LR_SCHEDULER_NAME", "WarmupCosineLR", "SOLVER.STEPS", "(30000,)")
    check_training(toy_config(*cosine))  # it has no steps


def test_a_part_that_there_is_not_is_found_before_training(
    toy_config: Callable[..., CfgNode],
) -> None:
    whole = ("MODEL.META_ARCHITECTURE", "CFRSAM", "TEST.BEST_METRIC", "segmentation/bPQ")
    with pytest.raises(UserError, match=r"^MODEL.SAM.ADAPTER is 'nothing': choose one of MALA, "):
        check_training(toy_config(*whole, "MODEL.SAM.ADAPTER", "nothing"))


def test_missing_test_set_is_found_before_training(
    toy_config: Callable[..., CfgNode], tmp_path: Path
) -> None:
    register_nucleus_json("toy_gone", tmp_path / "gone.json", tmp_path, thing_classes=["a", "b"])
    try:
        with pytest.raises(UserError, match=r"gone\.json"):
            check_training(toy_config("DATASETS.TEST", "('toy_gone',)"))
    finally:
        unregister("toy_gone")
