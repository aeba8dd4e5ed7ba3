"""The command line of whole slides; what it does is tested in tests/slides/."""

import importlib.util
from pathlib import Path

import pytest

from cfrsam_d2.command_line import split_inputs
from cfrsam_d2.commands import slides as tool
from cfrsam_d2.errors import UserError

REQUIRED = ["--config-file", "c.yaml", "--output", "out"]


def test_slides_and_keys_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "SLIDE").touch()
    slides = [tmp_path / "a.svs", Path("B.SVS"), tmp_path / "SLIDE"]
    words = [slides[0], slides[2], Path("MODEL.DEVICE"), Path("cpu")]
    assert split_inputs(words) == (words[:2], ["MODEL.DEVICE", "cpu"])
    assert split_inputs(slides[:1]) == (slides[:1], [])
    url = tool.path_or_url("s3://BUCKET/SLIDE")
    assert split_inputs([url, Path("MODEL.DEVICE"), Path("cpu")])[0] == [url]


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openslide" else find(name)
    )
    with pytest.raises(UserError, match=r"openslide.* not installed: .*\[slides\]"):
        tool.check_packages()


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["a.svs", "b.svs", "--mask", "m.png", *REQUIRED], "--mask is of one slide"),
        (["a.svs", "--mask", "m.png", "--no-mask", *REQUIRED], "not allowed with"),
        (["a.svs", "--mpps", "1", *REQUIRED], "--mpps is no option"),
        (["a.svs", "--shard", "17/16", *REQUIRED], "'17/16' is no shard: give K/N"),
        (["a.svs", "--shard", "3", *REQUIRED], "'3' is no shard"),
        (["a.svs", "--workers", "0", *REQUIRED], "'0' is no number of workers"),
        (REQUIRED, "slides"),
    ):
        with pytest.raises(SystemExit):
            tool.main(arguments)
        assert said in capsys.readouterr().err


def test_the_exit_status_is_1_where_slides_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openslide", "pyarrow", "shapely", "zarr", "imagecodecs"):
        pytest.importorskip(name, reason=f"{name} is missing: pip install 'cfrsam_d2[slides]'")
    for failures in ([], ["a row of fleet.csv"]):
        monkeypatch.setattr(
            "cfrsam_d2.apps.slide_fleet.segment_slides", lambda *_, failures=failures: failures
        )
        if failures:
            with pytest.raises(SystemExit) as ended:
                tool.main(["a.svs", *REQUIRED])
            assert ended.value.code == 1
        else:
            tool.main(["a.svs", *REQUIRED])
