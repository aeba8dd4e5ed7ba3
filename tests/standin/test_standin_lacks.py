"""What the stand-in lacks: one sentence says to install Detectron2."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import detectron2.structures
from detectron2.utils import comm

STANDIN = Path(__file__).resolve().parents[2] / "cfrsam_d2" / "standin"
LACKING = {
    "import detectron2.export": "detectron2.export",
    "import detectron2.projects.point_rend": "detectron2.projects",
    "from detectron2 import model_zoo": "detectron2.model_zoo",
    "from detectron2.modeling import FPN": "detectron2.modeling.FPN",
    "from detectron2.modeling.roi_heads import ROIHeads": "detectron2.modeling.roi_heads",
    "from detectron2.structures import Boxes, Keypoints": "detectron2.structures.Keypoints",
    "from detectron2.engine.hooks import EvalHook": "detectron2.engine.hooks.EvalHook",
}


def told() -> dict[str, Any]:
    answers = {}
    for statement in LACKING:
        try:
            exec(statement, {})
        except ImportError as error:
            answers[statement] = [str(error), error.name]
    return {
        "answers": answers,
        "has": [hasattr(detectron2.structures, name) for name in ("Boxes", "Keypoints")],
        "default": getattr(comm, "shared_random_seed", "default"),
        "found": [find_spec(name) is not None for name in ("detectron2.utils.comm", "yacs")],
        "others": find_spec("cfrsam_d2_missing"),
    }


def test_imports_that_are_lacking_say_to_install_detectron2() -> None:
    """In a process of its own, if another Detectron2 is installed."""
    if STANDIN in Path(detectron2.structures.__file__).parents:
        says = told()
    else:
        environment = os.environ | {"PYTHONPATH": str(STANDIN)}
        command = [sys.executable, __file__]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        says = json.loads(done.stdout)
    assert says == {
        "answers": {
            statement: [
                f"{name} is not in cfrsam_d2's stand-in for Detectron2: install Detectron2"
                " (pip install 'git+https://github.com/facebookresearch/detectron2.git')",
                "detectron2",
            ]
            for statement, name in LACKING.items()
        },
        "has": [True, False],
        "default": "default",
        "found": [True, True],
        "others": None,
    }


if __name__ == "__main__":
    print(json.dumps(told()))
