"""The same training gives the same numbers, however busy the machine is: to the bit, on a CPU."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from detectron2.utils.env import seed_all_rng
from processes import busy_processes
from tiny_demo import TINY
from tiny_segmenter import tiny_head
from torch import Tensor

from cfrsam_d2.engine import NucleusTrainer, load_config
from cfrsam_d2.modeling.mask_head.head import ImageMaps

ROOT = Path(__file__).resolve().parents[1]
THREADS = 2
STEPS = 2
OVERRIDES = [
    *TINY,
    *("MODEL.CFRSAM.PROMPT_LEARNER_WEIGHTS", "", "MODEL.CFRSAM.TRAIN_PROMPTS", "centroid"),
    *("DATASETS.VAL", "()", "DATASETS.TEST", "()", "SOLVER.MAX_ITER", str(STEPS)),
    *("SOLVER.IMS_PER_BATCH", "2"),
]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def digest(*tensors: Tensor) -> str:
    found = hashlib.sha256()
    for each in tensors:
        found.update(each.detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def trained(stage: str, output: Path) -> str:
    """A digest of all weights after some steps."""
    config = str(ROOT / "configs" / "train_demo" / f"{stage}.yaml")
    cfg = load_config(config, [*OVERRIDES, "OUTPUT_DIR", str(output)])
    seed_all_rng(cfg.SEED)
    trainer = NucleusTrainer(cfg)
    trainer.train()
    return digest(*trainer.model.state_dict().values())


@pytest.mark.parametrize("stage", ["prompt_learner", "cfrsam"])
def test_trainings_beside_busy_processes(stage: str, tmp_path: Path) -> None:
    alone = trained(stage, tmp_path / "alone")
    with busy_processes(THREADS):
        assert trained(stage, tmp_path / "beside") == alone


def test_gradients_of_images_that_many_prompts_share() -> None:
    """Threads that add up a gradient in the order in which they come give several sums."""
    torch.manual_seed(0)
    head, embeddings = tiny_head().eval(), torch.randn(2, 256, 8, 8, requires_grad=True)
    prompts, prompt_image = 128 * torch.rand(24, 2), torch.arange(24) % 2
    maps = ImageMaps((128, 128), embeddings)
    found = set()
    with busy_processes(THREADS):
        for _ in range(8):
            decoded = head.decode(maps, prompts, prompt_image)
            (gradient,) = torch.autograd.grad(decoded.logits.square().sum(), embeddings)
            found.add(digest(gradient))
    assert len(found) == 1
