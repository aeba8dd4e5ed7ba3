"""One process and two: the same on Detectron2 and on the stand-in."""

import atexit
import json
from pathlib import Path

import pytest
import torch
from detectron2.data.samplers import InferenceSampler
from detectron2.engine import create_ddp_model, launch
from detectron2.utils import comm

from cfrsam_d2.process_groups import ends_process_groups

TASKS = Path("/proc/self/task")  # a folder for each thread, on Linux


@ends_process_groups
def write_what_processes_know(folder: Path) -> None:
    rank = comm.get_rank()
    torch.manual_seed(rank)
    model = create_ddp_model(torch.nn.Linear(1, 1), device_ids=None)
    model(torch.full((1, 1), float(rank))).sum().backward()
    known = {
        "world_size": comm.get_world_size(),
        "local_rank": comm.get_local_rank(),
        "is_main": comm.is_main_process(),
        "all_gather": comm.all_gather({"rank": rank}),
        "gather": comm.gather([rank]),
        "indices": list(InferenceSampler(3)),
        "gradient": next(model.parameters()).grad.item(),
    }
    comm.synchronize()
    (folder / f"{rank}.json").write_text(json.dumps(known))


def write_threads_at_exit(folder: Path) -> None:
    rank = comm.get_rank()

    def write() -> None:
        (folder / f"{rank}.threads").write_text(str(len(list(TASKS.iterdir()))))

    if TASKS.is_dir():
        atexit.register(write)
    write_what_processes_know(folder)


def test_one_process(tmp_path: Path) -> None:
    launch(write_what_processes_know, 1, args=(tmp_path,))
    assert json.loads((tmp_path / "0.json").read_text()) == {
        "world_size": 1,
        "local_rank": 0,
        "is_main": True,
        "all_gather": [{"rank": 0}],
        "gather": [[0]],
        "indices": [0, 1, 2],
        "gradient": 0.0,
    }


@pytest.fixture
def meeting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where two processes meet, without GPUs."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return f"file://{tmp_path / 'meeting'}"


def test_two_processes(tmp_path: Path, meeting: str) -> None:
    launch(write_threads_at_exit, 2, dist_url=meeting, args=(tmp_path,))
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    both = {"world_size": 2, "all_gather": [{"rank": 0}, {"rank": 1}], "gradient": 0.5}
    assert first == both | {
        "local_rank": 0,
        "is_main": True,
        "gather": [[0], [1]],
        "indices": [0, 1],
    }
    assert second == both | {"local_rank": 1, "is_main": False, "gather": [], "indices": [2]}
    if TASKS.is_dir():  # no thread outlives Python
        assert [(tmp_path / f"{rank}.threads").read_text() for rank in (0, 1)] == ["1", "1"]
