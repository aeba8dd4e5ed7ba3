"""Config files and what they extend: read as Detectron2 reads them, or refused in one sentence."""

import os
import random
from pathlib import Path

import pytest
import yaml
from detectron2.config import CfgNode
from hypothesis import given, settings
from hypothesis import strategies as st

from cfrsam_d2.engine import load_config
from cfrsam_d2.engine.yaml_file import read_config_file
from cfrsam_d2.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))


def test_every_config_is_read_as_detectron2_reads_it() -> None:
    assert len(CONFIGS) > 40
    for path in CONFIGS:
        assert read_config_file(str(path)) == CfgNode.load_yaml_with_base(str(path))


def test_later_bases_and_the_file_itself_override(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("SOLVER: {MAX_ITER: 1, BASE_LR: 1.0}")
    (tmp_path / "b.yaml").write_bytes("\ufeff_BASE_: a.yaml\nSOLVER: {BASE_LR: 2.0}".encode())
    (tmp_path / "c.yaml").write_text("_BASE_: [b.yaml, a.yaml]\nVERSION: 2\nSEED: 3")
    assert read_config_file(str(tmp_path / "b.yaml")) == {"SOLVER": {"MAX_ITER": 1, "BASE_LR": 2}}
    assert read_config_file(str(tmp_path / "c.yaml")) == {
        "SOLVER": {"MAX_ITER": 1, "BASE_LR": 1},
        "VERSION": 2,
        "SEED": 3,
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no YAML of keys, but begins with None"),
        (b"<html></html>", "is no YAML of keys, but begins with '<html></html>'"),
        (b"- 1\n- 2", r"is no YAML of keys, but begins with \[1, 2\]"),
        (b"SOLVER: [3", "is no YAML of keys: while parsing"),
        (b"SOLVER:\n\tMAX_ITER: 3", r"is no YAML of keys: .*cannot start any token"),
        (b"SEED: 1\nSEED: 2", "is no YAML of keys: SEED stands twice: leave one out"),
        (b"SOLVER: {BASE_LR: 1.0, BASE_LR: 2.0}", "BASE_LR stands twice"),
        (b"SEED: 2024-99-99", "is no YAML of keys: month must be"),
        (b"SEED: !!python/object/apply:os.getpid []", "is no YAML of keys: could not determine"),
        (b"? [1, {2: 3}]\n: 4", "is no YAML of keys"),
        (b"A: &a {B: 1}\nC: *a", "an alias stands for keys: write them out"),
        (b"SEED: " + 2000 * b"[", "is no YAML of keys: it is nested too deeply"),
        (b"# " + 300000 * b"x", "is no YAML of keys: it has 300,002 bytes"),
        ("# \u00fc\nSEED: 1".encode("latin-1"), r"is not in UTF-8 \(byte 2\): save it as UTF-8"),
        ("SEED: 1".encode("utf-16"), "is not in UTF-8"),
        (b"VERSION: 1\nSEED: 1", "has VERSION 1: give its keys the names of version 2"),
        (b"VERSION: x", "has VERSION 'x': give its keys"),
        (b"_BASE_: gone.yaml", "gone.yaml, the _BASE_ of .*bad.yaml, does not exist: correct"),
        (b"_BASE_: .", "the _BASE_ of .*bad.yaml, does not exist: correct"),
        (b"_BASE_: 3", "has a _BASE_ that is no path: name one file"),
        (b"_BASE_: [x, {}]", "has a _BASE_ that is no path: name one file"),
        (b"_BASE_: bad.yaml", "bad.yaml, the _BASE_ of .*bad.yaml, extends itself: take that"),
        (b"_BASE_: [./loop.yaml]", "bad.yaml, the _BASE_ of .*loop.yaml, extends itself: take"),
        (b"_BASE_: flat.yaml\nSOLVER: {BASE_LR: 1.0}", "has keys below SOLVER, which is a value"),
    ],
)
def test_no_config(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").write_text("_BASE_: bad.yaml")
    (tmp_path / "flat.yaml").write_text("SOLVER: 3")
    path = tmp_path / "bad.yaml"
    path.write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        read_config_file(str(path))
    assert "bad.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_alias_may_stand_for_a_value(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("DATASETS: {TEST: &names [x], VAL: *names}")
    assert read_config_file(str(tmp_path / "a.yaml"))["DATASETS"] == {"TEST": ["x"], "VAL": ["x"]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KEYS = ["SOLVER.STEPS", "SOLVER.MAX_ITER", "MODEL.SAM", "MODEL.DEVICE", "_BASE_", "VERSION", "SEED"]
KEYS += ["DATASETS.TRAIN", "INPUT.MAGNIFICATION", "MODEL.PIXEL_MEAN", "MODEL.MASK_HEAD.CROP_SIZES"]
KEYS += ["MODEL.PROMPT_LEARNER.DEPTHS", "MODEL.META_ARCHITECTURE", "OUTPUT_DIR", "TEST", ""]


@settings(max_examples=25, derandomize=True, database=None, deadline=None)
@given(values=st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=2))
def test_any_value_is_taken_or_refused_in_one_sentence(
    values: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any_value.yaml"
    nested: dict = {}
    for key, value in values.items():
        node, names = nested, key.split(".")
        for name in names[:-1]:
            node = node.setdefault(name, {})
        node[names[-1]] = value
    path.write_text(yaml.safe_dump(nested, allow_unicode=True), encoding="utf-8")
    assert_read_or_refused(path)


@settings(max_examples=40, derandomize=True, database=None, deadline=None)
@given(seed=st.integers(0, 2**32), data=st.binary(max_size=12))
def test_damaged_files_are_read_or_refused_in_one_sentence(
    seed: int, data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Some bytes of a config in another place, cut out, or replaced."""
    draw = random.Random(seed)
    text = (ROOT / "configs" / "train_demo" / "cfrsam.yaml").read_bytes()
    start, end = sorted(draw.choices(range(len(text)), k=2))
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text[:start] + data + draw.choice([text[end:], text[start + 3 :], b""]))
    assert_read_or_refused(path)


def assert_read_or_refused(path: Path) -> None:
    try:
        outcome = str(load_config(os.fspath(path)).VERSION)
    except UserError as error:
        outcome = str(error)
    assert "\n" not in outcome
