"""The time of loading, on a few images."""

from collections import defaultdict

import albumentations as A
import numpy as np
import pytest

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


def test_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_loading, "training_step_of", lambda name, count: (None, None))
    seconds = iter([2.0, 0.5])
    monkeypatch.setattr(data_loading, "median_seconds", lambda work, runs: next(seconds))
    monkeypatch.setattr(
        data_loading, "mapper_seconds", lambda config, images: (0.02, {"Blur": 0.005})
    )
    report = data_loading.report(images=1, runs=1)
    assert "stage 1: 50 images per second on one core" in report
    assert report.count("Blur") == 2
    assert "25 %" in report
    assert "100 times its loading" in report
    assert "0.50 s, 25 % of the step" in report
