"""Event storage, writers, logs and the set-up of a training: the same on both."""

import json
import logging
import random
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.engine import default_setup
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils.collect_env import collect_env_info
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import (
    CommonMetricPrinter,
    EventStorage,
    JSONWriter,
    TensorboardXWriter,
    get_event_storage,
)
from detectron2.utils.logger import setup_logger


def test_storage_keeps_scalars_by_iteration() -> None:
    with pytest.raises(AssertionError, match="EventStorage"):
        get_event_storage()
    with EventStorage(3) as storage:
        assert get_event_storage() is storage
        storage.put_scalar("loss_a", torch.tensor(2.0))
        storage.iter = 4
        storage.put_scalars(loss_a=4.0, loss_b=1.0)
        storage.put_scalar("late", 9.0, cur_iter=8)
        with EventStorage() as inner:
            assert get_event_storage() is inner
    assert storage.history("loss_a").values() == [(2.0, 3), (4.0, 4)]
    assert storage.latest() == {"loss_a": (4.0, 4), "loss_b": (1.0, 4), "late": (9.0, 8)}
    with pytest.raises(KeyError, match="unheard"):
        storage.history("unheard")


def test_only_hinted_scalars_are_smoothed() -> None:
    with EventStorage() as storage:
        for i, value in enumerate([1.0, 5.0, 2.0]):
            storage.iter = i
            storage.put_scalar("loss", value)
            storage.put_scalar("score", value, smoothing_hint=False)
        smoothed = storage.latest_with_smoothing_hint(20)
        assert smoothed == {"loss": (2.0, 2), "score": (2.0, 2)}
        assert storage.latest_with_smoothing_hint(2)["loss"] == (3.5, 2)
        with pytest.raises(AssertionError, match="smoothing_hint"):
            storage.put_scalar("loss", 1.0, smoothing_hint=False)


def test_json_lines_are_written_once(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    file.write_text('{"iteration": 0}\n')  # of an earlier run
    writer = JSONWriter(str(file), window_size=1)
    with EventStorage(1) as storage:
        storage.put_scalar("loss", 3.0)
        writer.write()
        writer.write()
        storage.iter = 2
        storage.put_scalar("loss", 2.0)
        writer.write()
    writer.close()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines == [
        {"iteration": 0},
        {"iteration": 1, "loss": 3.0},
        {"iteration": 2, "loss": 2.0},
    ]


def test_tensorboard_gets_every_scalar_once(tmp_path: Path) -> None:
    accumulation = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = TensorboardXWriter(str(tmp_path))
    with EventStorage(5) as storage:
        storage.put_scalar("loss", 3.0)
        writer.write()
        writer.write()
    writer.close()
    events = accumulation.EventAccumulator(str(tmp_path)).Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(5, 3.0)]


def test_progress_tells_losses_rate_and_time_left(messages: list[str]) -> None:
    printer = CommonMetricPrinter(max_iter=100)
    with EventStorage(39) as storage:
        storage.put_scalars(loss_a=0.25, total_loss=0.75, time=2.0, data_time=0.5)
        storage.put_scalar("lr", 1e-4, smoothing_hint=False)
        printer.write()
        assert storage.latest()["eta_seconds"] == (120.0, 39)
        (message,) = messages
        for part in ("eta: 0:02:00", "iter: 39", "loss_a: 0.25", "total_loss: 0.75", "lr: 0.0001"):
            assert part in message
        storage.iter = 100
        printer.write()  # after training there is no progress
    assert len(messages) == 1


def test_progress_without_any_scalar(messages: list[str]) -> None:
    with EventStorage(1):
        CommonMetricPrinter().write()
    assert "iter: 1" in messages[0]


def test_logger_writes_below_the_output_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    logger = setup_logger(str(tmp_path), name="standin_test.main")
    assert setup_logger(str(tmp_path), name="standin_test.main") is logger
    logger.info("first words")
    other = setup_logger(str(tmp_path), distributed_rank=1, name="standin_test.other")
    other.warning("other words")
    out = capsys.readouterr().out
    assert out.count("first words") == 1
    assert "other words" not in out
    for handler in (*logger.handlers, *other.handlers):
        handler.flush()
    assert (tmp_path / "log.txt").read_text().count("first words") == 1
    assert "other words" in (tmp_path / "log.txt.rank1").read_text()
    assert not logger.propagate


def test_seeds_are_of_all_generators() -> None:
    draws = []
    for seed in (3, 3, None):
        seed_all_rng(seed)
        draws.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert draws[0] == draws[1]
    assert not set(draws[0]) & set(draws[2])


def test_set_up_writes_the_config_and_seeds(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.OUTPUT_DIR, cfg.SEED = str(tmp_path / "output"), 11
    default_setup(cfg, Namespace(eval_only=False))
    drawn = torch.rand(1)
    torch.manual_seed(11)
    assert torch.equal(drawn, torch.rand(1))
    again = get_cfg()
    again.merge_from_file(str(tmp_path / "output" / "config.yaml"))
    assert (again.OUTPUT_DIR, again.SEED, again.SOLVER) == (cfg.OUTPUT_DIR, 11, cfg.SOLVER)
    for handler in logging.getLogger("detectron2").handlers:
        if not handler.stream.closed:  # as those of other tests
            handler.flush()
    assert "Command line arguments" in (tmp_path / "output" / "log.txt").read_text()


def test_environment_names_the_versions() -> None:
    assert torch.__version__ in collect_env_info()


def test_nested_results_are_flattened() -> None:
    results = {"segmentation": {"bPQ": 0.5, "by": {"Bile-duct": 0.25}}, "n": 3}
    assert flatten_results_dict(results) == {
        "segmentation/bPQ": 0.5,
        "segmentation/by/Bile-duct": 0.25,
        "n": 3,
    }
