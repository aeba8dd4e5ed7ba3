"""The published sizes come out, of either encoder; and so they do on the command line."""

import json
from pathlib import Path

import pytest
from torchvision.ops import deform_conv2d

from cfrsam_d2.analysis import Cost, analyze_model
from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.mask_head import layers
from tools import analyze_model as tool

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def analyze(config: str) -> dict[str, Cost]:
    return analyze_model(load_config(str(CONFIGS / config)))


@pytest.fixture(scope="module")
def vit_b() -> dict[str, Cost]:
    return analyze("cfrsam_b.yaml")


@pytest.fixture(scope="module")
def vit_h() -> dict[str, Cost]:
    return analyze("cfrsam_h.yaml")


def millions(number: int, digits: int) -> str:
    return f"{number / 1e6:.{digits}f}"


def assert_parameters(costs: dict[str, Cost], total: str, trainable: str, mala: str) -> None:
    stage1, stage2 = costs["stage1"], costs["stage2"]
    assert millions(stage1.parameters, 2) == millions(stage1.trainable, 2) == "55.11"
    assert millions(stage2.parameters, 2) == total
    assert millions(stage2.trainable, 2) == trainable
    assert millions(costs["stage2.encoder.mala"].parameters, 3) == mala
    assert costs["stage2.encoder"].trainable == costs["stage2.encoder.mala"].parameters
    assert costs["stage2.encoder.neck"].trainable == 0
    assert costs["stage2.mask_head.prompt_encoder"].trainable == 0
    assert millions(costs["stage2.mask_head.mask_decoder"].trainable, 3) == "4.058"
    assert millions(costs["stage2.mask_head.hmfm"].trainable, 3) == "0.264"
    refinement = costs["stage2.mask_head.deep_branch"] + costs["stage2.mask_head.bgmr"]
    assert millions(refinement.trainable, 3) == "0.251"


def assert_macs(costs: dict[str, Cost], stage2: float, encoder: float) -> None:
    # The published model applies MALA's three kernels one by one: 0.02 G (B) and 0.07 G (H) more.
    assert costs["stage2"].macs / 1e9 == pytest.approx(stage2, rel=2e-3)
    assert costs["stage2.encoder"].macs / 1e9 == pytest.approx(encoder, rel=2e-3)
    assert costs["stage2.encoder"].macs_per_further_nucleus == 0
    assert f"{costs['stage2'].macs_per_further_nucleus / 1e9:.1f}" == "3.2"


def test_vit_b(vit_b: dict[str, Cost]) -> None:
    assert_parameters(vit_b, total="97.95", trainable="8.28", mala="3.702")
    assert_macs(vit_b, stage2=40.6, encoder=36.8)


def test_vit_h(vit_h: dict[str, Cost]) -> None:
    assert_parameters(vit_h, total="655.84", trainable="18.80", mala="14.231")
    assert_macs(vit_h, stage2=282.7, encoder=278.8)


def test_both_stages_add_up_to_the_paper(vit_b: dict[str, Cost]) -> None:
    """Table 12 of the paper."""
    assert vit_b["total"] == vit_b["stage1"] + vit_b["stage2"]
    assert millions(vit_b["total"].parameters, 1) == "153.1"
    assert millions(vit_b["total"].trainable, 1) == "63.4"


def test_refinement_is_most_of_the_work_with_many_nuclei(vit_b: dict[str, Cost]) -> None:
    bgmr, stage2 = (
        vit_b[part].macs + 24 * vit_b[part].macs_per_further_nucleus
        for part in ("stage2.mask_head.bgmr", "stage2")
    )
    assert bgmr / stage2 == pytest.approx(0.65, abs=0.005)


def test_parts_add_up(vit_b: dict[str, Cost]) -> None:
    parts = [cost for name, cost in vit_b.items() if name.startswith("stage2.mask_head.")]
    whole = vit_b["stage2.mask_head"]
    assert sum(part.parameters for part in parts) == whole.parameters
    # Beside its parts, the head multiplies mask tokens with features: less than a thousandth.
    assert sum(part.macs for part in parts) == pytest.approx(whole.macs, rel=1e-3)


def test_deformable_convolution_counts_as_little_as_torchvisions(
    vit_b: dict[str, Cost], monkeypatch: pytest.MonkeyPatch
) -> None:
    """fvcore does not know torchvision's operator, and counts nothing for it."""

    def torchvisions(x, offset, mask, weight):
        return deform_conv2d(x, offset.flatten(1, 2), weight, padding=1, mask=mask)

    monkeypatch.setattr(layers, "deform_conv3x3", torchvisions)
    small = analyze("quickstart/cfrsam.yaml")  # its BGMR is that of any encoder
    assert small["stage2.mask_head.bgmr"] == vit_b["stage2.mask_head.bgmr"]


def test_json_of_four_levels(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(CONFIGS / "prompt_learner.yaml")
    tool.main(["--config-file", config, "--json", "MODEL.PROMPT_LEARNER.NUM_LEVELS", "4"])
    costs = json.loads(capsys.readouterr().out)
    assert costs.keys() == {"stage1"}
    assert costs["stage1"].keys() == {
        "parameters",
        "trainable",
        "macs",
        "macs_per_further_nucleus",
    }
    assert millions(costs["stage1"]["parameters"], 2) == "56.29"


def test_table() -> None:
    cost = Cost(parameters=8_276_000, trainable=0, macs=40_578_000_000, macs_per_further_nucleus=0)
    *_, row = tool.as_table({"stage2": cost}).splitlines()
    assert row.split() == ["stage2", "8.276", "0.000", "40.578", "0.000"]


def test_missing_config_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        tool.main(["--config-file", "missing.yaml"])
    assert stop.value.code == 2
    assert "'missing.yaml' does not exist" in capsys.readouterr().err
