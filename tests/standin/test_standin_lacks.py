"""What the stand-in lacks: one sentence says to install Detectron2."""

import json
import os
import subprocess
import sys
from pathlib import Path

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
PROGRAM = """
import importlib.util, json, sys
import detectron2.structures
from detectron2.utils import comm
answers = {}
for statement in json.loads(sys.argv[1]):
    try:
        exec(statement)
    except ImportError as error:
        answers[statement] = [str(error), error.name]
print(json.dumps({
    "answers": answers,
    "has": [hasattr(detectron2.structures, name) for name in ("Boxes", "Keypoints")],
    "default": getattr(comm, "shared_random_seed", "default"),
    "found": [importlib.util.find_spec(n) is not None for n in ("detectron2.utils.comm", "yacs")],
    "others": importlib.util.find_spec("cfrsam_d2_missing"),
}))
"""


def test_imports_that_are_lacking_say_to_install_detectron2() -> None:
    """In a process of its own: another Detectron2 may be installed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(list(LACKING))],
        env=os.environ | {"PYTHONPATH": str(STANDIN)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answers"] == {
        statement: [
            f"{name} is not in cfrsam_d2's stand-in for Detectron2: install Detectron2"
            " (pip install 'git+https://github.com/facebookresearch/detectron2.git')",
            "detectron2",
        ]
        for statement, name in LACKING.items()
    }
    assert told["has"] == [True, False]
    assert told["default"] == "default"
    assert told["found"] == [True, True]
    assert told["others"] is None
