"""Every config of a published training against a table of what was published."""

import functools
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from detectron2.config import get_cfg

from cfrsam_d2.config import add_cfrsam_config
from cfrsam_d2.data.converters.holdout import hold_out
from cfrsam_d2.engine import load_config
from cfrsam_d2.engine.checks import check_classes
from cfrsam_d2.modeling.mask_head.fusions import FUSIONS
from cfrsam_d2.modeling.mask_head.refiners import REFINERS
from cfrsam_d2.modeling.sam.adapters import ADAPTERS

CONFIGS = Path(__file__).resolve().parents[1] / "configs"

PANNUKE_IMAGES = {1: 2656, 2: 2523, 3: 2722}  # by fold
IMAGES = {"cpm17": 32, "monuseg": 30}  # of the release, to train and validate on
TRAIN_IMAGES = {"cpm17": 27, "monuseg": 26}
FOLDS = {"123": (1, 2, 3), "213": (2, 1, 3), "321": (3, 2, 1)}  # train, val, test

# Batch, epochs, learning rate, epochs between validations, epoch of the decay, side of the crop.
SCHEDULES = {
    ("pannuke", "prompt_learner"): (16, 200, 2e-4, 5, None, 0),
    ("cpm17", "prompt_learner"): (8, 200, 1e-4, 5, None, 500),
    ("monuseg", "prompt_learner"): (4, 600, 5e-5, 15, None, 0),
    ("pannuke", "cfrsam"): (2, 200, 1e-4, 5, 100, 256),
    ("cpm17", "cfrsam"): (8, 200, 8e-5, 5, None, 256),
    ("monuseg", "cfrsam"): (2, 200, 1e-4, 5, None, 256),
}
LEARNERS = {
    "pannuke": {
        "NUM_CLASSES": 5,
        "NUM_LEVELS": 3,
        "ANCHOR_STRIDE": 8,
        "BACKGROUND_WEIGHT": 0.4,
        "SUPPRESSION_RADIUS": 3.0,
        "KEEP_ON_MASK_ONLY": False,
    },
    "cpm17": {
        "NUM_CLASSES": 1,
        "NUM_LEVELS": 4,
        "ANCHOR_STRIDE": 16,
        "BACKGROUND_WEIGHT": 0.25,
        "SUPPRESSION_RADIUS": 12.0,
        "KEEP_ON_MASK_ONLY": True,
    },
    "monuseg": {
        "NUM_CLASSES": 1,
        "NUM_LEVELS": 4,
        "ANCHOR_STRIDE": 16,
        "BACKGROUND_WEIGHT": 0.2,
        "SUPPRESSION_RADIUS": 11.0,
        "KEEP_ON_MASK_ONLY": True,
    },
}
CLASS_F1_RADII = {"pannuke": 3.0, "cpm17": 12.0, "monuseg": 12.0}
NMS_THRESHOLDS = {"pannuke": 0.5, "cpm17": 0.5, "monuseg": 0.3}
SAMS = {
    "b": ("weights/sam_vit_b_01ec64.pth", 768, 12, 12, [2, 5, 8, 11]),
    "l": ("weights/sam_vit_l_0b3195.pth", 1024, 24, 16, [5, 11, 17, 23]),
    "h": ("weights/sam_vit_h_4b8939.pth", 1280, 32, 16, [7, 15, 23, 31]),
}
OF_BOTH = {
    "VERSION": 2,
    "MODEL.PROMPT_LEARNER.BACKBONE": "convnext_small.fb_in1k",
    "MODEL.PROMPT_LEARNER.HIDDEN_DIM": 256,
    "MODEL.PROMPT_LEARNER.DISTANCE_WEIGHT": 0.1,
    "MODEL.PROMPT_LEARNER.REGRESSION_WEIGHT": 5e-3,
    "MODEL.PIXEL_MEAN": [123.675, 116.28, 103.53],
    "MODEL.PIXEL_STD": [58.395, 57.12, 57.375],
    "SOLVER.WEIGHT_DECAY": 1e-4,
    "SOLVER.WARMUP_ITERS": 0,
}
OF_STAGE = {
    "prompt_learner": {
        "MODEL.META_ARCHITECTURE": "PromptLearner",
        "MODEL.PROMPT_LEARNER.PRETRAINED": True,
        "INPUT.AUGMENTATION": "prompt_learner",
        "SOLVER.OPTIMIZER": "ADAMW",
        "SOLVER.CLIP_GRADIENTS.ENABLED": True,
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE": "full_model",
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 0.1,
        "SOLVER.EMA_DECAY": 0.99,
        "TEST.BEST_METRIC": "detection/mean_class_F1",
    },
    "cfrsam": {
        "MODEL.META_ARCHITECTURE": "CFRSAM",
        "MODEL.SAM.FREEZE": True,
        "MODEL.SAM.ADAPTER": "MALA",
        "MODEL.SAM.ADAPTER_RANK": 64,
        "MODEL.MASK_HEAD.FOCAL_WEIGHT": 20.0,
        "MODEL.MASK_HEAD.BOUNDARY_WEIGHT": 0.01,
        "MODEL.MASK_HEAD.FINAL_MASK": "refined",
        "MODEL.MASK_HEAD.CROP_SIZES": [64, 72, 80, 88, 96, 128],
        "MODEL.MASK_HEAD.TRAIN_CROP_SIZES": [],
        "MODEL.MASK_HEAD.CHECKPOINT_ACTIVATIONS": True,
        "MODEL.MASK_HEAD.CROP_HALO": 24,
        "MODEL.MASK_HEAD.FUSION": "HMFM",
        "MODEL.MASK_HEAD.REFINEMENT": "BGMR",
        "MODEL.CFRSAM.TRAIN_PROMPTS": "learner",
        "MODEL.CFRSAM.MAX_TRAIN_NUCLEI": 25,
        "MODEL.CFRSAM.NEGATIVE_PROMPTS": 0,
        "MODEL.SLIDING_WINDOW.SIZE": 256,
        "MODEL.SLIDING_WINDOW.OVERLAP": 64,
        "MODEL.SLIDING_WINDOW.EDGE_TOLERANCE": 7,
        "INPUT.AUGMENTATION": "sam",
        "SOLVER.OPTIMIZER": "ADAM",
        "SOLVER.GAMMA": 0.1,
        "SOLVER.CLIP_GRADIENTS.ENABLED": False,
        "SOLVER.EMA_DECAY": 0.0,
        "TEST.BEST_METRIC": "segmentation/bPQ",
    },
}
# Parts that a key chooses by name.
CHOICES = {
    "MODEL.SAM.ADAPTER": ADAPTERS,
    "MODEL.MASK_HEAD.FUSION": FUSIONS,
    "MODEL.MASK_HEAD.REFINEMENT": REFINERS,
}
# What else an ablation may be of.
ABLATED = {
    "MODEL.SAM.FREEZE",
    "MODEL.SAM.ADAPTER_RANK",
    "MODEL.MASK_HEAD.BOUNDARY_WEIGHT",
    "MODEL.CFRSAM.MAX_TRAIN_NUCLEI",
}
# Config: its dataset, and the split of PanNuke.
PUBLISHED = {
    f"{folder}{stage}": (dataset, split)
    for folder, dataset, split in [
        ("", "pannuke", "123"),
        ("pannuke/213/", "pannuke", "213"),
        ("pannuke/321/", "pannuke", "321"),
        ("cpm17/", "cpm17", ""),
        ("monuseg/", "monuseg", ""),
    ]
    for stage in ("prompt_learner", "cfrsam_b", "cfrsam_h")
}
PUBLISHED["cfrsam_l"] = PUBLISHED["cfrsam_b"]  # not trained by the paper, but as if


def expected(name: str) -> dict[str, Any]:
    """Every key that a published training sets, by the table."""
    dataset, split = PUBLISHED[name]
    folder, _, leaf = name.rpartition("/")
    stage = stage_of(name)
    batch, epochs, lr, period, decay, crop = SCHEDULES[dataset, stage]
    iterations = images_of(dataset, split) / batch  # an epoch's
    output = f"output/{folder}/" if folder else "output/"
    keys = {**OF_BOTH, **OF_STAGE[stage]}
    keys |= {f"MODEL.PROMPT_LEARNER.{key}": value for key, value in LEARNERS[dataset].items()}
    keys |= {
        "INPUT.TRAIN_CROP_SIZE": crop,
        "SOLVER.IMS_PER_BATCH": batch,
        "SOLVER.BASE_LR": lr,
        "SOLVER.STEPS": [] if decay is None else [math.ceil(decay * iterations)],
        "SOLVER.MAX_ITER": math.ceil(epochs * iterations),
        "SOLVER.CHECKPOINT_PERIOD": math.ceil(period * iterations),
        "TEST.EVAL_PERIOD": math.ceil(period * iterations),
        "TEST.CLASS_F1_RADIUS": CLASS_F1_RADII[dataset],
        # As published where images are larger than a window.
        "MODEL.SLIDING_WINDOW.REPEAT_PROMPTS": dataset != "pannuke",
        "OUTPUT_DIR": f"{output}{leaf}",
    }
    keys |= {f"DATASETS.{key}": [value] for key, value in datasets_of(dataset, split).items()}
    if stage == "cfrsam":
        names = ("WEIGHTS", "EMBED_DIM", "DEPTH", "NUM_HEADS", "GLOBAL_ATTN_INDEXES")
        values = SAMS[leaf[-1]]
        keys |= {f"MODEL.SAM.{key}": value for key, value in zip(names, values, strict=True)}
        keys["MODEL.CFRSAM.NMS_THRESH"] = NMS_THRESHOLDS[dataset]
        learner = f"{output}prompt_learner/model_best.pth"
        keys["MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS"] = learner
    return keys


def stage_of(name: str) -> str:
    return "prompt_learner" if name.endswith("prompt_learner") else "cfrsam"


def images_of(dataset: str, split: str) -> int:
    return PANNUKE_IMAGES[FOLDS[split][0]] if split else TRAIN_IMAGES[dataset]


def datasets_of(dataset: str, split: str) -> dict[str, str]:
    names = [f"pannuke_fold{fold}" for fold in FOLDS.get(split, ())]
    names = names or [f"{dataset}_{part}" for part in ("train", "val", "test")]
    return dict(zip(("TRAIN", "VAL", "TEST"), names, strict=True))


def leaves(node: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple) else value


@functools.cache
def resolved(name: str) -> dict[str, Any]:
    """All keys of a config."""
    return dict(leaves(load_config(str(CONFIGS / f"{name}.yaml"), ["MODEL.DEVICE", "cpu"])))


def changes(name: str, base: str) -> dict[str, Any]:
    """The keys that a config has other values of than the one that it extends."""
    return {key: value for key, value in resolved(name).items() if resolved(base)[key] != value}


def test_every_key_is_the_published_one() -> None:
    defaults = get_cfg()
    add_cfrsam_config(defaults)
    for name in PUBLISHED:
        config, table = resolved(name), expected(name)
        assert {key: config[key] for key in table} == table, name
        changed = {key for key, value in leaves(defaults) if config[key] != value}
        assert changed - {"MODEL.DEVICE"} <= table.keys(), name


def test_every_file_is_usable_by_itself() -> None:
    files = sorted(CONFIGS.rglob("*.yaml"))
    assert len(files) > len(PUBLISHED)
    for path in files:
        check_classes(load_config(str(path), ["MODEL.DEVICE", "cpu"]))


def test_every_alternative_has_an_ablation_and_that_differs_in_nothing_else() -> None:
    used = {key: {resolved("cfrsam_b")[key]} for key in CHOICES}
    for path in sorted((CONFIGS / "ablations").glob("*.yaml")):
        changed = changes(f"ablations/{path.stem}", "cfrsam_b")
        own = yaml.safe_load(path.read_text())
        assert own.pop("_BASE_") == "../cfrsam_b.yaml"
        assert dict(leaves(own)) == changed  # no key that changes nothing
        assert changed.pop("OUTPUT_DIR") == f"output/ablations/{path.stem}"
        assert changed, path
        assert changed.keys() <= CHOICES.keys() | ABLATED, path
        for key in changed.keys() & CHOICES.keys():
            used[key].add(changed[key])
        if number := re.fullmatch(r"(rank|nuclei)_(\d+)", path.stem):
            assert list(changed.values()) == [int(number[2])]
    assert used == {key: set(parts) for key, parts in CHOICES.items()}


def test_comments_name_the_epochs() -> None:
    for name, (dataset, _) in PUBLISHED.items():
        _, epochs, _, period, decay, _ = SCHEDULES[dataset, stage_of(name)]
        of_key = {"MAX_ITER": epochs, "CHECKPOINT_PERIOD": period, "STEPS": decay}
        for path in [CONFIGS / f"{name}.yaml", *(CONFIGS / dataset).glob("Base*.yaml")]:
            lines = re.findall(r"^ *(\w+): (\S+)(?:  # (.+))?$", path.read_text(), re.MULTILINE)
            for key, iterations, comment in lines:
                if key in of_key and iterations != "[]":
                    assert comment == f"{of_key[key]} epochs", f"{path}: {key}"


@pytest.mark.parametrize("dataset", IMAGES)
def test_iterations_are_of_the_images_that_train(dataset: str) -> None:
    names = [f"image_{index:02d}" for index in range(IMAGES[dataset])]
    assert len(names) - len(hold_out(names)) == TRAIN_IMAGES[dataset]


def test_box_prompts_change_nothing_else() -> None:
    folder = "ablations/prompt_box/"
    generator = {"MODEL.PROPOSAL_GENERATOR.NAME": "BoxProposalGenerator"}
    learner = f"output/{folder}prompt_learner"
    assert changes(f"{folder}prompt_learner", "prompt_learner") == {
        **generator,
        "OUTPUT_DIR": learner,
    }
    assert changes(f"{folder}cfrsam_b", "cfrsam_b") == {
        **generator,
        "MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS": f"{learner}/model_best.pth",
        "OUTPUT_DIR": f"output/{folder}cfrsam_b",
    }


def test_both_stages_of_small_models_have_one_learner() -> None:
    for folder in ("train_demo", "small"):
        changed = changes(f"{folder}/cfrsam", f"{folder}/prompt_learner")
        of_learner = {key for key in changed if key.startswith("MODEL.PROMPT_LEARNER.")}
        assert of_learner == {"MODEL.PROMPT_LEARNER.BACKGROUND_WEIGHT"}  # of its training alone


def test_promptnucseg_is_sam_alone():
    """As its code has it: batch 16, 200 epochs, a decay at the 100th, nothing added to SAM."""
    epoch = PANNUKE_IMAGES[1] / 16
    for size in ("b", "h"):
        cfg = load_config(str(CONFIGS / f"promptnucseg_{size}.yaml"))
        published = load_config(str(CONFIGS / f"cfrsam_{size}.yaml"))
        changed = {
            key: value
            for (key, value), (_, other) in zip(leaves(cfg), leaves(published), strict=True)
            if value != other
        }
        assert changed == {
            "MODEL.SAM.FREEZE": False,
            "MODEL.SAM.ADAPTER": "none",
            "MODEL.MASK_HEAD.FUSION": "last",
            "MODEL.MASK_HEAD.REFINEMENT": "none",
            "MODEL.CFRSAM.MAX_TRAIN_NUCLEI": 20,
            "SOLVER.IMS_PER_BATCH": 16,
            "SOLVER.STEPS": [100 * epoch],
            "SOLVER.MAX_ITER": 200 * epoch,
            "SOLVER.CHECKPOINT_PERIOD": 5 * epoch,
            "TEST.BEST_METRIC": "segmentation/mPQ",
            "TEST.EVAL_PERIOD": 5 * epoch,
            "OUTPUT_DIR": f"output/promptnucseg_{size}",
        }
