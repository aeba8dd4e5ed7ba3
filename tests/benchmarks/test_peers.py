"""Beside peers: areas that count once, turns with their process, and the ratios."""

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from tiny_config import TINY
from torch import Tensor, nn

from benchmarks import peers, peers_models
from benchmarks.peers import OwnModel, Tiling, Work, peers_process
from cfrsam_d2.modeling.precision import FLOAT32

CONFIG = str(peers.CONFIGS / "cfrsam_b.yaml")
STUB = """
print('{"torch": "1"}', flush=True)
while line := input():
    print(len(line), flush=True)
"""


def test_what_tiles_overlap_by_counts_once() -> None:
    """16 million px are a mm²."""
    for tiling, count, extent, counted in [
        (Tiling(256, 192), 4, 832, 768),
        (Tiling(1024, 960), 1, 1024, 960),
        (Tiling(896, 832), 1, 896, 832),
        (Tiling(256, 164), 4, 748, 656),
    ]:
        assert (tiling.count(), tiling.extent()) == (count, extent)
        assert tiling.mm2() == pytest.approx(counted**2 / 16e6)
    assert peers.overlapping(256) == Tiling(256, 192)


class Sizes(nn.Module):
    """Notes the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, tiles: Tensor) -> None:
        self.seen.append(tuple(tiles.shape))


def test_the_peers_process_gives_each_network_the_tiles_that_are_asked_for() -> None:
    image = torch.arange(3 * 64**2).view(3, 64, 64)
    tiles = peers_models.cut(image, 16, 12, 4)
    assert len(tiles) == 16
    assert torch.equal(tiles[5], image[:, 12:28, 12:28])
    networks, answers = {"a": Sizes(), "b": Sizes()}, io.StringIO()
    peers_models.answer(networks, image, ["run a 16 12 3\n", "run b 64 60 1\n"], answers)
    assert networks["a"].seen == [(8, 3, 16, 16), (1, 3, 16, 16)]
    assert networks["b"].seen == [(1, 3, 64, 64)]
    assert all(float(line) > 0 for line in answers.getvalue().splitlines())
    assert {name for each in peers.PEERS.values() for name in each} == {*peers_models.NETWORKS}


def test_turns_with_another_process() -> None:
    with peers_process([sys.executable, "-S", "-c", STUB]) as process:
        assert process.versions == {"torch": "1"}
        assert process.seconds("ab", Tiling(64, 60)) == len("run ab 64 60 4")
        assert process.seconds("a", Tiling(64, 60)) == len("run a 64 60 4")


def test_a_process_that_does_not_answer() -> None:
    with (
        pytest.raises(peers.UserError, match="the peers' process has ended, see above"),
        peers_process([sys.executable, "-S", "-c", "pass"]),
    ):
        pass
    with (
        pytest.raises(peers.UserError, match="--peers-python is no/python: No such file"),
        peers_process(["no/python"]),
    ):
        pass


def test_works_take_turns_and_the_first_round_does_not_count() -> None:
    turns = []
    times = {"a": iter([9.0, 1.0, 2.0, 6.0]), "b": iter([8.0, 4.0, 4.0, 4.0])}

    def work(name: str) -> Work:
        return Work(lambda: (turns.append(name), next(times[name]))[1], mm2=0.5)

    assert peers.seconds_per_mm2({name: work(name) for name in "ab"}, 3) == {"a": 4, "b": 8}
    assert turns == [*"abababab"]


def test_own_model_finds_the_nuclei_of_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnModel(CONFIG, [*TINY, "SLIDE.TILE", "64", "SLIDE.HALO", "32"])
    found, sizes = [], []
    find, encode = own.model.find_nuclei, own.model.encode_cut
    monkeypatch.setattr(own.model, "find_nuclei", lambda *given: found.append(find(*given)))
    monkeypatch.setattr(
        own.model, "encode_cut", lambda cut: (sizes.append(len(cut)), encode(cut))[1]
    )
    image = torch.zeros(3, 120, 120, dtype=torch.uint8)
    work = own.masks(image, Tiling(64, 48), FLOAT32)  # two in a row, 112 px
    assert work.seconds() > 0
    assert work.mm2 == pytest.approx(96**2 / 16e6)
    assert sizes == [1, 1, 1, 1]
    assert found[0][0].image_size == (112, 112)
    learner = own.learner(FLOAT32)
    assert learner.seconds() > 0
    assert learner.mm2 == pytest.approx(64**2 / 16e6)


SECONDS = {
    "stage 1": 1.0,
    "stage 1, bfloat16": 0.5,
    "b, stage 2, 256 px": 4.0,
    "b, stage 2, 672 px": 3.0,
    "b, stage 2, 256 px, bfloat16": 2.0,
    "b, stage 2, 672 px, bfloat16": 1.5,
    "cellvit_256, 256 px": 6.0,
    "cellvit_256, 1024 px": 7.0,
    "cellvit_sam_b, 1024 px": 10.0,
    "hovernet, 256 px": 20.0,
}


def test_ratios_are_of_the_best_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "PRECISIONS", {"": FLOAT32})
    without = peers.compare(SECONDS, ["b"], peers.WINDOWS)
    monkeypatch.setattr(peers, "PRECISIONS", {"": FLOAT32, ", bfloat16": FLOAT32})
    figures = peers.compare(SECONDS, ["b"], peers.WINDOWS)
    assert {*figures} - {*without} == {"b_bfloat16_over_float32"}
    assert figures.pop("seconds_per_mm2")["b, 256 px, bfloat16"] == 2.5
    assert figures == {
        "b_window": 672,
        "cellvit_256_tile": 256,
        "b_over_cellvit_256": 1.5,
        "cellvit_sam_b_tile": 1024,
        "b_over_cellvit_sam_b": 2.5,
        "hovernet_tile": 256,
        "b_over_hovernet": 5.0,
        "b_bfloat16_over_float32": 2.0,
    }
    monkeypatch.setattr(peers, "measure", lambda *given: peers.compare(SECONDS, given[1], given[2]))
    arguments = ["--peers-python", "python", "--models", "b"]
    peers.main([*arguments, "--json"])
    assert json.loads(capsys.readouterr().out)["b_over_cellvit_sam_b"] == 2.5
    peers.main(arguments)
    assert ["b_over_hovernet", "5.00"] in [
        line.split() for line in capsys.readouterr().out.splitlines()
    ]


def test_bad_arguments_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, message in [
        ([], "one of the arguments --peers-python --make-environment is required"),
        (["--peers-python", "python", "--runs", "0"], "--runs is 0: give 1 or more"),
        (["--peers-python", "python", "--windows", "64"], "--windows has 64: give more than 64"),
        (["--make-environment", str(tmp_path)], f"{tmp_path} exists, give --peers-python"),
    ]:
        with pytest.raises(SystemExit) as stop:
            peers.main(arguments)
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


def test_the_list_of_packages_is_pinned_and_leaves_pytorch_alone() -> None:
    lines = (peers.HERE / "peers-requirements.txt").read_text().splitlines()
    packages = [line.split("==")[0] for line in lines if not line.startswith("#")]
    assert all("==" in line for line in lines if not line.startswith("#"))
    assert {"cellvit", "tiatoolbox"} < {*packages}
    assert not {"torch", "torchvision"} & {*packages}
