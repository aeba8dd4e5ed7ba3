"""Lists and folders of slides."""

from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.parts import Share
from cfrsam_d2.slides.slide_list import ListedSlide, largest_first, list_slides

OUTPUT = Path("out")


def test_a_list_has_paths_beside_it_and_mpp_and_masks_where_given(tmp_path: Path) -> None:
    text = 'path,mpp,mask\nb.svs,0.5,\n/far/c d.svs,,m.png\n\n"a,ä.svs"\n'
    expected = [
        ListedSlide(tmp_path / "a,ä.svs"),
        ListedSlide(tmp_path / "b.svs", mpp=0.5),
        ListedSlide(Path("/far/c d.svs"), mask=tmp_path / "m.png"),
    ]
    for encoding in ("utf-8", "utf-8-sig"):
        for ends in ("\n", "\r\n"):
            path = tmp_path / "slides.csv"
            path.write_bytes(text.replace("\n", ends).encode(encoding))
            assert list_slides([path], OUTPUT) == expected
    path.write_text("path\nx.svs\n")
    assert list_slides([path], OUTPUT) == [ListedSlide(tmp_path / "x.svs")]


def test_a_list_that_cannot_be_used_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "slides.csv"
    for text, said in (
        ("slide\nx.svs\n", r"slides\.csv has no column path .*'slide'"),
        ("path,mp\nx.svs,1\n", r"a column 'mp': take out all but path, mpp, mask"),
        ("", "no column path"),
        ("path,mpp\n", "lists no slide"),
        ("path,mpp\nx.svs,0.25\ny.svs,0\n", r"slides\.csv, line 3: mpp is '0'"),
        ("path,mpp\ny.svs,fine\n", r"line 2: mpp is 'fine'"),
        ("path,mpp\n,0.25\n", "line 2: path is empty"),
        ("path,mpp\na,b.svs,0.25\n", "line 2 has more cells"),
    ):
        path.write_text(text)
        with pytest.raises(UserError, match=said):
            list_slides([path], OUTPUT)
    path.write_bytes(b"path\n\xff.svs\n")
    with pytest.raises(UserError, match=r"slides\.csv cannot be read .*UTF-8"):
        list_slides([path], OUTPUT)
    with pytest.raises(UserError, match=r"none\.csv cannot be read"):
        list_slides([tmp_path / "none.csv"], OUTPUT)


def test_folders_give_their_slides_and_say_what_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("b.svs", "in/a.NDPI", "in/notes.txt", "in/cover.png", "out/x/labels.ome.tiff"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = list_slides([tmp_path, Path("0.svs")], tmp_path / "out")
    assert [slide.path for slide in found] == [
        Path("0.svs"),
        tmp_path / "in" / "a.NDPI",
        tmp_path / "b.svs",
    ]
    assert "left out 2 files" in capsys.readouterr().err
    with pytest.raises(UserError, match="has no slides"):
        list_slides([tmp_path / "out" / "x"], tmp_path / "out")


def test_shards_are_all_slides_once_and_the_largest_comes_first(tmp_path: Path) -> None:
    names = [f"{number}.svs" for number in range(10)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"x" * (number * 7 % 10))
    slides = list_slides([tmp_path], OUTPUT)
    shards = [Share(number, 16).of(slides) for number in range(16)]
    assert sorted(len(shard) for shard in shards) == [0] * 6 + [1] * 10
    assert [each.path.name for each in Share(2, 3).of(slides)] == ["2.svs", "5.svs", "8.svs"]
    missing = ListedSlide(tmp_path / "missing.svs")
    sizes = [int(each.path.stem) * 7 % 10 for each in largest_first([missing, *slides])[:-2]]
    assert sizes == [9, 8, 7, 6, 5, 4, 3, 2, 1]
