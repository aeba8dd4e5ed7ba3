"""Real samples of CPM-17 and MoNuSeg: prepared, trained on for a moment, and scored."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from cfrsam_d2.data import builtin
from cfrsam_d2.data.builtin import dataset_root

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))
import train_net  # noqa: E402

SMALL = {
    "MODEL.PROMPT_LEARNER.BACKBONE": "convnext_tiny",
    "MODEL.PROMPT_LEARNER.DEPTHS": [1, 1, 1, 1],
    "MODEL.PROMPT_LEARNER.DIMS": [8, 16, 24, 32],
    "MODEL.PROMPT_LEARNER.PRETRAINED": False,
    "MODEL.PROMPT_LEARNER.HIDDEN_DIM": 16,
    "INPUT.TRAIN_CROP_SIZE": 128,
    "DATALOADER.NUM_WORKERS": 0,
    "MODEL.DEVICE": "cpu",
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.MAX_ITER": 2,
    "TEST.EVAL_PERIOD": 2,
}


@pytest.mark.parametrize("dataset", ["cpm17", "monuseg"])
def test_from_the_release_to_scores(dataset, shared, tmp_path, request):
    data, output = tmp_path / "data", tmp_path / "output"
    prepare = runpy.run_path(str(ROOT / "datasets" / "prepare.py"))["main"]
    prepare([dataset, str(shared / "data" / f"{dataset}_layout"), "--output", str(data)])
    request.addfinalizer(lambda: builtin.register_builtin_datasets(dataset_root()))
    builtin.register_builtin_datasets(data)

    config = ROOT / "configs" / dataset / "prompt_learner.yaml"
    options = SMALL | {"OUTPUT_DIR": output}
    pairs = [str(each) for pair in options.items() for each in pair]
    train_net.main(["--config-file", str(config), *pairs])

    scores = json.loads((output / "inference" / f"{dataset}_test" / "metrics.json").read_text())
    assert 0 <= scores["detection"]["F1"] <= 1
    num_images = len(list((data / dataset / "test" / "images").iterdir()))
    images = (output / "inference" / f"{dataset}_test" / "images.csv").read_text().splitlines()
    assert len(images) == 1 + num_images
    assert (output / "model_best.pth").is_file()
