"""The benchmark runs, and its plain loops agree with the evaluator (it raises if they do not)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_routes_agree_and_are_faster_than_the_loops():
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    output = subprocess.run(
        [sys.executable, "benchmarks/evaluator.py", "--images", "10", "--json"],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "CFRSAM_FIXTURES": "/missing",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    result = json.loads(output.splitlines()[-1])
    assert result["images"] == "generated"
    # Leaves room for a busy machine: alone, both are more than ten times faster.
    assert result["ratio"]["evaluator"] > 3
    assert result["ratio"]["functions"] > 3
