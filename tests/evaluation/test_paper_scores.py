"""What the paper reports comes in the groups of metrics.json."""

import pytest

from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_CLASSES, PANNUKE_TISSUES
from cfrsam_d2.evaluation.paper_scores import paper_metrics


@pytest.mark.parametrize("fold", [1, 2, 3])
def test_pannuke(fold: int):
    models = paper_metrics(f"pannuke_fold{fold}")
    assert list(models) == ["CFR-SAM-B", "CFR-SAM-H", "PromptNucSeg-H", "IVAAN-H"]
    small, huge, *peers = models.values()
    assert peers == [
        {"segmentation": {"bPQ": 0.6924, "mPQ": 0.5123}},
        {"segmentation": {"bPQ": 0.698, "mPQ": 0.546}},
    ]
    tissues = [name.replace("-", "_") for name in PANNUKE_TISSUES]
    for model in (small, huge):
        assert list(model["tissue_bpq"]) == list(model["tissue_mpq"]) == tissues
        assert list(model["segmentation"]) == ["mPQ", "bPQ", "AJI", "bPQ_std", "mPQ_std"]
    assert huge["segmentation"]["bPQ"] == 0.6956
    assert huge["segmentation"]["bPQ_std"] == 0.0298
    assert small["tissue_mpq"]["Lung"] == 0.4372
    assert huge["detection"] == {"P": 0.82, "R": 0.84, "F1": 0.83}
    assert set(huge["class_pq"]) == set(PANNUKE_CLASSES)
    assert len(huge["classification"]) == 3 * len(PANNUKE_CLASSES)
    assert huge["classification"]["R_dead"] == 0.42
    assert "detection" not in small


def test_datasets_of_one_class():
    assert paper_metrics("cpm17_test") == {
        "CFR-SAM-H": {"segmentation": {"bPQ": 0.719, "AJI": 0.725}},
        "PromptNucSeg-H": {"segmentation": {"AJI": 0.740, "bPQ": 0.733}},
        "IVAAN-H": {"segmentation": {"AJI": 0.743, "bPQ": 0.748}},
    }
    monuseg = paper_metrics("monuseg_test")
    assert monuseg["CFR-SAM-H"]["segmentation"]["AJI"] == 0.668
    assert list(monuseg) == ["CFR-SAM-H", "IVAAN-H"]


@pytest.mark.parametrize("name", ["cpm17_train", "custom_test", "synthetic_test"])
def test_nothing_is_said_of_other_data(name: str):
    assert paper_metrics(name) == {}
