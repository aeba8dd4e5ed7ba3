"""docs/design.md: its figure, paths, rule of imports and example are those of the code."""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cfrsam_d2.complexity import count_trainable
from cfrsam_d2.engine import load_config
from cfrsam_d2.modeling.sam import adapters
from docs.figures import data_flow

ROOT = Path(__file__).resolve().parents[1]
MODELING = ROOT / "cfrsam_d2" / "modeling"
TEXT = (ROOT / "docs" / "design.md").read_text()
STAGES = {"prompt_learner", "sam", "mask_head"}
sys.path.insert(0, str(ROOT / "tests" / "modeling"))
import test_adapters  # noqa: E402


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
    assert imported_stages(MODELING / "meta_arch" / "cfrsam.py") == {"mask_head"}
    for file in MODELING.rglob("*.py"):
        folder = file.relative_to(MODELING).parts[0]
        if folder not in ("meta_arch", "__init__.py"):  # which imports for registration
            assert imported_stages(file) <= {folder}, file


def test_the_example_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```\w+\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    module, entry, config, test = blocks
    names = dict(vars(adapters))
    exec(module, names)
    for name, kind in eval(f"{{{entry}}}", names).items():
        monkeypatch.setitem(adapters.ADAPTERS, name, kind)

    test_adapters.test_frozen_means_that_only_adapters_train_and_all_of_them("Scale")
    test_adapters.test_a_deep_copy_has_its_own_adapters("Scale")
    names = dict(vars(test_adapters))
    exec(test, names)
    names["test_scale_is_a_change_of_the_last_projections"]()

    file = tmp_path / "adapter_scale.yaml"
    file.write_text(config.replace("../", f"{ROOT}/configs/"))
    assert f"{count_trainable(load_config(str(file))) / 1e6:.2f} M" in TEXT
