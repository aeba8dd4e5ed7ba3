"""Where a program is not installed, its plug-in says what to do."""

import sys
from importlib import import_module

import pytest

from cfrsam_d2.errors import UserError

NEEDED = {"lazyslide": "lazyslide_models", "tiatoolbox": "tiatoolbox.annotation"}


@pytest.mark.parametrize("name", NEEDED)
def test_the_error_says_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NEEDED[name], None)  # as if it were not there
    monkeypatch.delitem(sys.modules, f"cfrsam_d2.integrations.{name}", raising=False)
    with pytest.raises(UserError, match=rf"is not installed: `pip install 'cfrsam_d2\[{name}\]'`$"):
        import_module(f"cfrsam_d2.integrations.{name}")
