"""A profile by part: each part once, times and arithmetic that add up."""

import json

import pytest
import torch
from tiny_config import TINY

from benchmarks import parts
from benchmarks.known_prompts import give_prompts, random_image, random_model
from cfrsam_d2.engine import load_config

CONFIG = str(parts.CONFIGS / "cfrsam_b.yaml")


def test_the_parts_of_a_model_do_not_overlap() -> None:
    model = random_model(load_config(CONFIG, ["MODEL.DEVICE", "cpu", *TINY]))
    found = list(parts.parts_of(model))
    assert {part for part, _ in found} == {*parts.PARTS}
    modules = [each for _, module in found for each in module.modules()]
    assert len(modules) == len({*modules})


@torch.no_grad()
def test_times_and_arithmetic_add_up() -> None:
    model = random_model(load_config(CONFIG, ["MODEL.DEVICE", "cpu", *TINY]))
    give_prompts(model, 2, 64)
    image = model.normalize(random_image(64))
    before = {name: module.forward for name, module in model.named_modules()}
    seconds = parts.seconds_by_part(model, lambda: model.inference([image]), 2)
    flops = parts.flops_by_part(model, lambda: model.inference([image]))
    assert {name: module.forward for name, module in model.named_modules()} == before
    assert {*seconds} == {*parts.PARTS, parts.REST, parts.TOTAL}
    assert all(each > 0 for each in seconds.values())
    assert flops[parts.TOTAL] == sum(each for part, each in flops.items() if part != parts.TOTAL)
    head = model.mask_head.bgmr.mcbe
    first = 2 * 64**2 * head.base[0].weight.numel()
    assert first < flops["MCBE"] < 2 * 64**2 * sum(each.numel() for each in head.parameters())


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--models", "b", "--nuclei", "16", "--size", "64", "--runs", "1"]
    parts.main([*small, "--json", *TINY])
    figures = json.loads(capsys.readouterr().out)
    rows = {row["part"]: row for row in figures["parts"]}
    assert figures["parts"][-1] == rows["total"]
    assert rows["total"]["share"] == 1
    assert sum(row["share"] for row in rows.values()) == pytest.approx(2, abs=0.2)
    assert figures["matrix_product_flops_per_second"] > 1e9
    assert "the machine's product of matrices: 2 GFLOP/s" in parts.as_text(figures["parts"], 2e9)


def test_nothing_to_measure_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--runs", "--nuclei", "--size"):
        with pytest.raises(SystemExit) as stop:
            parts.main([option, "0"])
        assert stop.value.code == 2
        assert f"{option} is 0: give 1 or more" in capsys.readouterr().err
