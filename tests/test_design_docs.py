"""docs/design.md: its figure, paths, rule of imports and example are those of the code."""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
import torch
from torch import nn

from cfrsam_d2.complexity import count_trainable
from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.prompt_learner import CentroidProposalGenerator
from cfrsam_d2.modeling.prompt_learner.backbone import build_convnext
from cfrsam_d2.modeling.sam import adapters
from docs.figures import data_flow

ROOT = Path(__file__).resolve().parents[1]
MODELING = ROOT / "cfrsam_d2" / "modeling"
TEXT = (ROOT / "docs" / "design.md").read_text()
STAGES = {"prompt_learner", "sam", "mask_head"}
sys.path[:0] = [str(ROOT / "tests" / "modeling"), str(ROOT / "tests" / "modeling" / "sam")]
import test_adapters  # noqa: E402
from tiny_segmenter import random_image, tiny_cfrsam, tiny_head  # noqa: E402


def test_the_figure_is_what_the_script_draws() -> None:
    assert data_flow.SVG.read_text() == data_flow.draw()


def test_all_files_that_it_names_are_there() -> None:
    names = re.findall(r"`([\w/]+(?:\.py|/))`", TEXT)
    missing = {
        name
        for name in names
        if not any((folder / name).exists() for folder in (ROOT, MODELING.parent, MODELING))
    }
    assert len(names) > 40
    assert missing == {"cfrsam_d2/modeling/sam/scale.py"}  # the example's


def imported(file: Path) -> Iterator[str]:
    """The full names of all that a module of the package imports."""
    package = ".".join(file.relative_to(ROOT).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            name = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{name}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imported_stages(file: Path) -> set[str]:
    prefix = "cfrsam_d2.modeling."
    parts = (name.removeprefix(prefix) for name in imported(file) if name.startswith(prefix))
    return STAGES & {part.split(".")[0] for part in parts}


def test_only_the_meta_architectures_import_the_stages() -> None:
    assert imported_stages(MODELING / "meta_arch" / "cfrsam.py") == STAGES
    for file in MODELING.rglob("*.py"):
        folder = file.relative_to(MODELING).parts[0]
        if folder not in ("meta_arch", "__init__.py"):  # which imports for registration
            assert imported_stages(file) <= {folder}, file


def statements(file: Path, qualified_name: str) -> int:
    """How many statements a function has, docstring not counted; 0 of a lambda or the like."""
    node: ast.AST = ast.parse(file.read_text())
    for name in qualified_name.split("."):
        inside = (each for each in ast.iter_child_nodes(node) if hasattr(each, "name"))
        node = next((each for each in inside if each.name == name), ast.Pass())
    body = [each for each in ast.walk(node) if isinstance(each, ast.stmt)][1:]
    return len(body) - (ast.get_docstring(node) is not None if body else 0)


def path_of_an_image() -> set[tuple[Path, str]]:
    """The package's functions that run while one image is predicted: file and qualified name."""
    run: set[tuple[Path, str]] = set()

    def note(frame: FrameType, event: str, arg: object) -> None:
        if event == "call" and MODELING.as_posix() in frame.f_code.co_filename:
            run.add((Path(frame.f_code.co_filename), frame.f_code.co_qualname))

    torch.manual_seed(0)
    generator = CentroidProposalGenerator(
        backbone=build_convnext("convnext_tiny", depths=[1] * 4, dims=[8] * 4),
        num_classes=3,
        hidden_dim=8,
        suppression_radius=30.0,
    )
    nn.init.constant_(generator.classification_head[-1].bias[-1:], -10)  # no background
    model = tiny_cfrsam(generator, tiny_head(crop_sizes=(64,), crop_halo=4)).eval()
    images = [{"image": random_image(128, 128)}]
    with torch.no_grad():
        sys.setprofile(note)
        try:
            (output,) = model(images)
        finally:
            sys.setprofile(None)
    assert len(output["instances"]) > 0
    return run


def test_an_image_passes_as_few_functions_as_it_says() -> None:
    path = {
        (file.name, name)
        for file, name in path_of_an_image()
        if statements(file, name) >= 3
        and not name.endswith("__init__")
        and not name.startswith(("_Crop.", "_Paste."))
    }
    files = {file for file, _ in path}
    assert f"{len(path)} functions in {len(files)} files" in TEXT, sorted(path)
    assert len(path) <= 40
    assert len(files) <= 12
    named = {name.split(".")[-1] for _, name in path}
    assert {name for name in named if name not in TEXT} == set()


def code_blocks() -> list[str]:
    return re.findall(r"^```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def test_a_part_can_be_taken() -> None:
    names: dict = {}
    with torch.no_grad():
        exec(code_blocks()[0], names)
    assert list(names["levels"]) == ["level0", "level1", "level2", "level3"]
    assert {level.shape for level in names["levels"].values()} == {(1, 256, 16, 16)}


def test_the_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, entry, config, test = code_blocks()[1:]
    names = dict(vars(adapters))
    exec(module, names)
    for name, kind in eval(f"{{{entry}}}", names).items():
        monkeypatch.setitem(adapters.ADAPTERS, name, kind)

    monkeypatch.setattr(test_adapters, "KINDS", ["Scale"])
    test_adapters.test_frozen_means_that_only_adapters_train_and_all_of_them()
    test_adapters.test_a_deep_copy_has_its_own_adapters()
    names = dict(vars(test_adapters))
    exec(test, names)
    names["test_scale_is_a_change_of_the_last_projections"]()

    file = tmp_path / "adapter_scale.yaml"
    file.write_text(config.replace("../", f"{ROOT}/configs/"))
    assert f"{count_trainable(load_config(str(file))) / 1e6:.2f} M" in TEXT
