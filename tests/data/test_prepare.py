import runpy
from pathlib import Path

import numpy as np
import pytest
from pannuke_release import images_file, write_fold

PREPARE = Path(__file__).resolve().parents[2] / "datasets" / "prepare.py"


@pytest.fixture
def prepare():
    return runpy.run_path(str(PREPARE))["main"]


@pytest.fixture
def release(tmp_path):
    for number in (1, 2, 3):
        write_fold(tmp_path / "release", number)
    return tmp_path / "release"


def files_in(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_folds_go_below_the_root_of_datasets(prepare, release, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    prepare(["pannuke", str(release)])
    for number in (1, 2, 3):
        fold = tmp_path / "data" / "pannuke" / f"fold{number}"
        assert (fold / "nuclei.json").is_file()
        assert len(list((fold / "images").glob("*.png"))) == 3
    output = capsys.readouterr().out
    assert "fold3: every image and every nucleus of fold 3, none skipped" in output


def test_the_summary_counts_images_and_nuclei_by_tissue_and_class(
    prepare, release, tmp_path, capsys
):
    prepare(["pannuke", str(release), "--output", str(tmp_path), "--folds", "2"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Bile-duct", "1", "0", "0", "0", "0", "0", "0"] in lines
    assert ["Breast", "2", "2", "0", "0", "1", "1", "4"] in lines
    assert ["all", "3", "2", "0", "0", "1", "1", "4"] in lines
    assert ["images", "without", "nuclei:", "1"] in lines


def test_only_the_named_folds_are_needed(prepare, release, tmp_path):
    (release / "Fold 3").rename(release / "elsewhere")
    prepare(["pannuke", str(release), "--output", str(tmp_path), "--folds", "2", "1", "2"])
    folders = [path.name for path in (tmp_path / "pannuke").iterdir() if path.is_dir()]
    assert sorted(folders) == ["fold1", "fold2"]


def test_running_again_gives_the_same_files(prepare, release, tmp_path):
    arguments = ["pannuke", str(release), "--output", str(tmp_path / "out")]
    prepare(arguments)
    first = files_in(tmp_path / "out")
    prepare(arguments)
    assert files_in(tmp_path / "out") == first


def test_a_broken_fold_stops_before_anything_is_written(prepare, release, tmp_path, capsys):
    np.save(images_file(release / "Fold 3"), np.zeros((2, 16, 16, 3)))
    with pytest.raises(SystemExit) as exit_info:
        prepare(["pannuke", str(release), "--output", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "holds 2 images, masks.npy 3 masks and types.npy 3 tissues: take all three" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: dataset"),
        (["nuclei", "x"], "invalid choice: 'nuclei'"),
        (["pannuke"], "required: source"),
        (["pannuke", "x", "--folds", "4"], "invalid choice: 4"),
    ],
)
def test_wrong_arguments(prepare, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_info:
        prepare(arguments)
    assert exit_info.value.code == 2
    assert message in capsys.readouterr().err
