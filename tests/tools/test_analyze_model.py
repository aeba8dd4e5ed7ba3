"""The published sizes come out, of either encoder; and so they do on the command line."""

import json
import re
import sys
from pathlib import Path

import pytest

from cfrsam_d2.apps import analyze_model as tool
from cfrsam_d2.complexity import Cost, analyze_model, count_trainable
from cfrsam_d2.engine import load_config
from cfrsam_d2.evaluation.paper_scores import TRAINABLE
from cfrsam_d2.modeling.sam.adapters import ADAPTERS

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
sys.path.insert(0, str(ROOT / "tools"))
from analyze_model import main  # noqa: E402

# Of tests that ask nothing of stage 1.
SMALL_LEARNER = [
    *("MODEL.PROMPT_LEARNER.BACKBONE", "convnext_tiny", "MODEL.PROMPT_LEARNER.HIDDEN_DIM", "16"),
    *("MODEL.PROMPT_LEARNER.DEPTHS", "[1, 1, 1, 1]"),
    *("MODEL.PROMPT_LEARNER.DIMS", "[8, 8, 16, 16]"),
]


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
    assert millions(costs["stage2.encoder.adapters"].parameters, 3) == mala
    assert costs["stage2.encoder"].trainable == costs["stage2.encoder.adapters"].parameters
    assert costs["stage2.encoder.neck"].trainable == 0
    assert costs["stage2.mask_head.prompt_encoder"].trainable == 0
    assert millions(costs["stage2.mask_head.mask_decoder"].trainable, 3) == "4.058"
    assert millions(costs["stage2.mask_head.fusion"].trainable, 3) == "0.264"
    refinement = costs["stage2.mask_head.deep_branch"] + costs["stage2.mask_head.refiner"]
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


def test_vit_l() -> None:
    trainable = count_trainable(load_config(str(CONFIGS / "cfrsam_l.yaml")))
    adapters = 2 * 24 * sum(each.numel() for each in ADAPTERS["MALA"].build(1024, 64).parameters())
    assert millions(trainable - adapters, 3) == "4.574"  # the mask head, as of B and H
    assert millions(trainable, 2) == "13.61"


def test_both_stages_add_up_to_the_paper(vit_b: dict[str, Cost]) -> None:
    """Table 12 of the paper."""
    assert vit_b["total"] == vit_b["stage1"] + vit_b["stage2"]
    assert millions(vit_b["total"].parameters, 1) == "153.1"
    assert millions(vit_b["total"].trainable, 1) == "63.4"


def test_refinement_is_most_of_the_work_with_many_nuclei(vit_b: dict[str, Cost]) -> None:
    bgmr, stage2 = (
        vit_b[part].macs + 24 * vit_b[part].macs_per_further_nucleus
        for part in ("stage2.mask_head.refiner", "stage2")
    )
    assert bgmr / stage2 == pytest.approx(0.65, abs=0.005)


def test_parts_add_up(vit_b: dict[str, Cost]) -> None:
    parts = [cost for name, cost in vit_b.items() if name.startswith("stage2.mask_head.")]
    whole = vit_b["stage2.mask_head"]
    assert sum(part.parameters for part in parts) == whole.parameters
    # Beside its parts, the head multiplies mask tokens with features: less than a thousandth.
    assert sum(part.macs for part in parts) == pytest.approx(whole.macs, rel=1e-3)


def test_json_of_four_levels(capsys: pytest.CaptureFixture[str]) -> None:
    config = str(CONFIGS / "prompt_learner.yaml")
    main(["--config-file", config, "--json", "MODEL.PROMPT_LEARNER.NUM_LEVELS", "4"])
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


def test_parts_that_an_ablation_lacks_are_left_out() -> None:
    sizes = ["MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.DEPTH", "4", "MODEL.SAM.NUM_HEADS", "3"]
    sizes += SMALL_LEARNER
    config = str(CONFIGS / "ablations" / "finetune_head.yaml")
    costs = analyze_model(load_config(config, sizes))
    decoder = costs["stage2.mask_head.mask_decoder"]
    assert costs["stage2"].trainable == decoder.trainable == decoder.parameters
    assert costs["stage2.encoder.adapters"] == costs["stage2.mask_head.fusion"] == Cost(0, 0, 0, 0)
    assert not {"stage2.mask_head.deep_branch", "stage2.mask_head.refiner"} & costs.keys()
    assert costs["stage2"].macs > costs["stage2.encoder"].macs > 0


def test_multiply_adds_of_what_takes_the_place_of_mala_and_bgmr() -> None:
    overrides = [
        *SMALL_LEARNER,
        *("MODEL.SAM.EMBED_DIM", "48", "MODEL.SAM.DEPTH", "4", "MODEL.SAM.NUM_HEADS", "3"),
        *("MODEL.SAM.GLOBAL_ATTN_INDEXES", "[0, 1, 2, 3]", "MODEL.SAM.ADAPTER", "LoRA"),
    ]
    costs = analyze_model(load_config(str(CONFIGS / "ablations" / "bgmr_mlp.yaml"), overrides))
    cells, quarter = 16**2, 64**2
    assert costs["stage2.encoder.adapters"].macs == 4 * cells * 2 * (48 * 64 + 64 * 48)
    mlp = costs["stage2.mask_head.refiner"]
    products = quarter * (64 * 256 + 256 * 256 + 256)
    assert mlp.macs == mlp.macs_per_further_nucleus  # nothing of it is once per image
    assert mlp.macs == pytest.approx(products, rel=1e-2)  # up-sampling counts, too


@pytest.fixture(scope="module")
def compared() -> dict[str, dict]:
    return tool.compare_with_paper([])


def test_all_ablations_have_the_papers_size_or_a_reason(compared: dict[str, dict]) -> None:
    ablations = {f"ablations/{path.stem}" for path in (CONFIGS / "ablations").glob("*.yaml")}
    ablations.add("ablations/prompt_box/cfrsam_b")
    assert compared.keys() == {"cfrsam_b", "cfrsam_h", *ablations}
    assert tool.NOTES.keys() <= TRAINABLE.keys() <= compared.keys()
    for name, each in compared.items():
        if name not in TRAINABLE:
            assert each["paper"] is each["difference"] is None
            assert each["note"] == tool.NOT_COUNTED
        else:
            assert each["paper"] == pytest.approx(1e6 * TRAINABLE[name])
            assert each["difference"] == each["trainable"] - each["paper"]
            assert abs(each["difference"]) <= 1e5 or each["note"], name


def test_sizes_of_all_ablations_are_documented(compared: dict[str, dict]) -> None:
    """Columns of docs/ablations.md: variant, config, what differs, the paper's size, the size."""
    text = (ROOT / "docs" / "ablations.md").read_text()
    rows = re.findall(r"^\|[^|]*\| `([\w/]+)` \|[^|]*\|[^|]*\| ([\d.]+) \|", text, re.MULTILINE)
    documented = dict(rows)
    assert len(documented) == len(rows)
    sizes = {name.removeprefix("ablations/"): each["trainable"] for name, each in compared.items()}
    assert millions(sizes.pop("cfrsam_h"), 2) == "18.80"
    assert documented == {name: millions(size, 2) for name, size in sizes.items()}


def test_no_rank_of_houlsbys_adapter_is_nearer_to_mala() -> None:
    def size(adapter: str, rank: int) -> int:
        return sum(each.numel() for each in ADAPTERS[adapter].build(768, rank).parameters())

    differences = {rank: abs(size("Houlsby", rank) - size("MALA", 64)) for rank in (99, 100, 101)}
    assert min(differences, key=differences.get) == 100


def test_all_on_the_command_line(
    compared: dict[str, dict], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tool, "compare_with_paper", lambda overrides: compared)
    main(["--all", "--json"])
    assert json.loads(capsys.readouterr().out) == compared
    main(["--all"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["ablations/rank_128", "12.08", "12.1", "-0.02"] in rows
    assert ["ablations/nuclei_20", "8.28", *tool.NOT_COUNTED.split()] in rows
    note = tool.NOTES["cfrsam_h"].split()
    assert ["cfrsam_h", "18.80", "19.1", "-0.30", *note] in rows


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--all", "--config-file", "x.yaml"], "--config-file: not allowed with argument --all"),
        ([], "one of the arguments --config-file --all is required"),
        (["--all", "MODEL.SAM.ADAPTER", "Lora"], "MODEL.SAM.ADAPTER is 'Lora': choose one of MALA"),
    ],
)
def test_bad_arguments_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_config_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--config-file", "missing.yaml"])
    assert stop.value.code == 2
    assert "'missing.yaml' does not exist" in capsys.readouterr().err
