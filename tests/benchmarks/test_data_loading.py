"""The time of loading, on a few images."""

from collections import defaultdict
from collections.abc import Iterator

import albumentations as A
import numpy as np
import pytest
from detectron2.config import CfgNode

from benchmarks import data_loading
from benchmarks.data_loading import mapper_seconds, timed_steps


def test_each_step_is_timed_and_left_as_it_was() -> None:
    augmentation = A.Compose([A.HorizontalFlip(p=1), A.Blur(p=0)])
    kinds = [type(step) for step in augmentation.transforms]
    seconds: dict[str, float] = defaultdict(float)
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    with timed_steps(augmentation, seconds):
        flipped = augmentation(image=image)["image"]
    assert np.array_equal(flipped, image[:, ::-1])
    assert seconds.keys() == {"HorizontalFlip", "Blur"}
    assert 0 < seconds["HorizontalFlip"] < 1
    assert [type(step) for step in augmentation.transforms] == kinds


def test_steps_are_a_part_of_the_whole() -> None:
    whole, of_steps = mapper_seconds("cfrsam_b.yaml", images=3)
    assert "Elastic" in of_steps
    assert 0 < sum(of_steps.values()) < whole


def test_a_consumer_waits_for_slow_loading_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        """Time that passes where it is told to."""

        now = 0.0

        def sleep(self, seconds: float) -> None:
            self.now += seconds

        def perf_counter(self) -> float:
            return self.now

    clock = Clock()

    class Slow:
        """A loader whose batches take 0.1 s of its own time."""

        def __init__(self, cfg: CfgNode) -> None:
            assert cfg.DATALOADER.NUM_WORKERS == 1

        def __iter__(self) -> Iterator[None]:
            while True:
                clock.sleep(0.1)
                yield

    monkeypatch.setattr(data_loading, "time", clock)
    monkeypatch.setattr(data_loading, "build_train_loader", Slow)
    # Two images a batch: 0.1 s of work at 20 a second.
    share = data_loading.waiting_share("cfrsam_b.yaml", images=6, rate=20)
    assert share == pytest.approx(0.5)


def test_one_process_loads_for_training() -> None:
    assert 0 <= data_loading.waiting_share("cfrsam_b.yaml", images=4, rate=50) < 1


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_loading, "training_step_of", lambda name, count: (None, None))
    seconds = iter([2.0, 0.5])
    monkeypatch.setattr(data_loading, "median_seconds", lambda work, runs: next(seconds))
    monkeypatch.setattr(
        data_loading, "mapper_seconds", lambda config, images: (0.02, {"Blur": 0.005})
    )
    monkeypatch.setattr(data_loading, "waiting_share", lambda config, images, rate: rate / 1000)
    report = data_loading.report(images=1, runs=1, rate=8)
    assert "stage 1: 50 images per second on one core" in report
    assert report.count("a GPU of 8 a second waits for 0.8 % of its time") == 2
    assert report.count("Blur") == 2
    assert "25 %" in report
    assert "100 times its loading" in report
    assert "0.50 s, 25 % of the step" in report
