import runpy
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from pannuke_release import images_file, write_fold
from small_release import write_cpm17, write_monuseg, write_xml

from cfrsam_d2.data.builtin import dataset_root, register_builtin_datasets
from cfrsam_d2.data.converters.pannuke_layout import PANNUKE_TISSUES
from cfrsam_d2.data.converters.release import RELEASE_SPLITS

PREPARE = Path(__file__).resolve().parents[3] / "datasets" / "prepare.py"


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
    ("dataset", "write", "nuclei", "without", "note"),
    [
        ("cpm17", write_cpm17, 12, 1, "every image and every nucleus, none left out"),
        ("monuseg", write_monuseg, 14, 0, "9 outlines cut at the edge of the image"),
    ],
)
def test_other_releases_become_train_val_and_test(
    prepare, tmp_path, monkeypatch, capsys, dataset, write, nuclei, without, note
):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    arguments = [dataset, str(write(tmp_path / "release"))]
    prepare(arguments)
    first = files_in(tmp_path / "data")
    counts = {}
    for split in ("train", "val", "test"):
        folder = tmp_path / "data" / dataset / split
        assert (folder / "nuclei.json").is_file()
        counts[split] = len(list((folder / "images").glob("*.png")))
    assert counts == {"train": 6, "val": 1, "test": 2}
    output = capsys.readouterr().out
    lines = [line.split() for line in output.splitlines()]
    totals = [line[1:] for line in lines if line[:1] == ["all"]]
    assert [int(total[0]) for total in totals] == [6, 1, 2]
    assert sum(int(total[-1]) for total in totals[:2]) == nuclei
    empty = [int(line[-1]) for line in lines if line[:2] == ["images", "without"]]
    assert sum(empty[:2]) == without
    assert output.rstrip().endswith(note)
    prepare(arguments)
    assert files_in(tmp_path / "data") == first


def test_the_catalog_has_what_was_prepared(prepare, release, tmp_path, request):
    root = tmp_path / "data"
    prepare(["pannuke", str(release), "--output", str(root), "--folds", "3"])
    prepare(["cpm17", str(write_cpm17(tmp_path / "cpm17")), "--output", str(root)])
    request.addfinalizer(lambda: register_builtin_datasets(dataset_root()))
    register_builtin_datasets(root)
    records = DatasetCatalog.get("pannuke_fold3")
    assert [len(record["annotations"]) for record in records] == [3, 0, 1]
    assert all(Path(record["file_name"]).is_file() for record in records)
    # Reports list all 19 tissues in the same order, whichever the fold has.
    assert MetadataCatalog.get("pannuke_fold3").tissues == list(PANNUKE_TISSUES)
    assert [len(DatasetCatalog.get(f"cpm17_{split}")) for split in RELEASE_SPLITS] == [6, 1, 2]


def test_a_broken_outline_file_is_one_line(prepare, tmp_path, capsys):
    source = write_monuseg(tmp_path / "release")
    write_xml(source / "MoNuSegTestData" / "TCGA-T1.xml", [])
    with pytest.raises(SystemExit) as exit_info:
        prepare(["monuseg", str(source), "--output", str(tmp_path / "out")])
    assert exit_info.value.code == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error: " in line)
    assert "TCGA-T1.xml has no Region: give the annotations as ImageScope saves them" in error
    assert not (tmp_path / "out" / "monuseg").exists()


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
