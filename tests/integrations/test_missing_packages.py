"""Where a program is not installed, its plug-in says what to do."""

import sys
from importlib import import_module

import pytest

from cfrsam_d2.errors import UserError

# By the module: the extra, and what cannot be imported without it.
NEEDED = {
    "lazyslide": ("lazyslide", "lazyslide_models"),
    "tiatoolbox": ("tiatoolbox", "tiatoolbox.annotation"),
    "napari.widget": ("napari", "napari.layers"),
}


@pytest.mark.parametrize("name", NEEDED)
def test_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    extra, needed = NEEDED[name]
    monkeypatch.setitem(sys.modules, needed, None)  # as if it were not there
    monkeypatch.delitem(sys.modules, f"cfrsam_d2.integrations.{name}", raising=False)
    message = rf"is not installed: `pip install 'cfrsam_d2\[{extra}\]'`$"
    with pytest.raises(UserError, match=message):
        import_module(f"cfrsam_d2.integrations.{name}")
