"""Files and folders appear whole or not at all, and what cannot be written is said."""

import errno
import fcntl
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from cfrsam_d2 import files
from cfrsam_d2.errors import DiskError, UserError
from cfrsam_d2.files import (
    add_png,
    folder_lock,
    make_folder,
    replaced_folder,
    write_bytes,
    write_json,
    write_png,
    written_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_there(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    write_bytes(tmp_path / "new" / "folder" / "a", b"abc")
    write_json(tmp_path / "b.json", {"c": [1, 2]})
    write_png(tmp_path / "c.png", image)
    add_png(tmp_path / "d.png", image)
    assert (tmp_path / "new" / "folder" / "a").read_bytes() == b"abc"
    assert json.loads((tmp_path / "b.json").read_text()) == {"c": [1, 2]}
    for name in ("c.png", "d.png"):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name))[..., ::-1], image)
    assert names(tmp_path) == ["b.json", "c.png", "d.png", "new"]


def test_all_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr(files, "_sync", lambda path: done.append(path.name))
    replace, rename = os.replace, os.rename
    monkeypatch.setattr(os, "replace", lambda *names: done.append("replace") or replace(*names))
    monkeypatch.setattr(os, "rename", lambda *names: done.append("rename") or rename(*names))
    folder = tmp_path / "data"
    write_bytes(folder / "a", b"abc")
    assert done == [tmp_path.name, ".a.partial", "replace", "data"]
    done.clear()
    (folder / "a").unlink()
    with replaced_folder(folder, made_with="record") as partial:
        (partial / "record").touch()
    assert sorted(done[:2]) == [".data.partial", "record"]
    assert done[2:] == ["rename", "rename", "rename", tmp_path.name, "rename"]


def fail_halfway(path: Path, error: BaseException) -> None:
    with written_whole(str(path)) as partial:
        partial.write_bytes(b"half")
        assert path.read_bytes() == b"old"
        raise error


def test_a_failure_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    for error, raised in (
        (OSError(errno.ENOSPC, "full"), DiskError),
        (ValueError(), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ):
        with pytest.raises(raised):
            fail_halfway(path, error)
        assert path.read_bytes() == b"old"
        assert names(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_gone_after_the_next_run(tmp_path: Path) -> None:
    for name in (".a.partial", ".b.partial", "c.partial"):
        (tmp_path / name).write_bytes(b"longer than what is written now")
    write_bytes(tmp_path / "a", b"abc")
    assert (tmp_path / "a").read_bytes() == b"abc"
    assert names(tmp_path) == [".b.partial", "a", "c.partial"]


def test_a_file_that_another_process_writes_is_left_to_it(tmp_path: Path) -> None:
    with open(tmp_path / ".a.partial", "wb") as file:
        file.write(b"its own")
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match=r"another process is writing .*a: wait for it"):
            write_bytes(tmp_path / "a", b"abc")
    assert (tmp_path / ".a.partial").read_bytes() == b"its own"
    write_bytes(tmp_path / "a", b"abc")
    assert names(tmp_path) == ["a"]


def refuse(code: int) -> Callable:
    def write(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return write


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (errno.ENOSPC, DiskError, "make room, or choose another place"),
        (errno.EDQUOT, DiskError, "make room, or choose another place"),
        (errno.EROFS, DiskError, "choose another place"),
        (errno.EIO, DiskError, "check the disk, or choose"),
        (errno.EACCES, UserError, "get the right to write there, or choose"),
        (errno.EISDIR, UserError, "move away what has that name, or choose"),
        (errno.ENAMETOOLONG, UserError, "give it a shorter name"),
        (errno.ENXIO, UserError, "choose another place"),
    ],
)
def test_what_cannot_be_written_is_said(
    code: int, kind: type, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", refuse(code))
    for write in (write_bytes, lambda path, _: add_png(path, np.zeros((2, 2, 3), np.uint8))):
        with pytest.raises(UserError) as caught:
            write(tmp_path / "a", b"abc")
        assert type(caught.value) is kind
        start = f"cannot write {tmp_path / 'a'} ({os.strerror(code)}): "
        assert str(caught.value).startswith(start + remedy)
    assert names(tmp_path) == []


def test_folders_in_a_files_place_and_files_in_a_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    for write in (
        lambda: write_bytes(tmp_path / "folder", b"abc"),
        lambda: write_bytes(tmp_path / "file" / "a", b"abc"),
        lambda: make_folder(tmp_path / "file"),
        lambda: make_folder(tmp_path / "file" / "a" / "b"),
        lambda: folder_lock(tmp_path / "file" / "data").__enter__(),
        lambda: replaced_folder(tmp_path / "file", made_with="record").__enter__(),
    ):
        with pytest.raises(UserError, match=rf"({tmp_path}/f.*\(.*\)|exists and holds .*): move"):
            write()
    with pytest.raises(UserError, match=r"File name too long.*: give it a shorter name"):
        write_bytes(tmp_path / ("n" * 256) / "a", b"abc")
    assert names(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "kept"


def in_child(run: Callable[[], None]) -> int:
    """Fork, and return the status of what `run` does there; an error is 1."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_disk_that_takes_no_more_bytes(tmp_path: Path) -> None:
    """With a limit of the system in place of a full disk: it is met within a file."""

    def save_all() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        for write in (
            lambda path: path.write_bytes(bytes(100_000)),
            lambda path: path.open("wb").write(bytes(100_000)),
            lambda path: np.save(path.open("wb"), np.zeros(100_000)),
            lambda path: torch.save({"a": torch.zeros(100_000)}, path.open("wb")),
        ):
            with (
                pytest.raises(UserError, match=rf"^cannot write {tmp_path}/a \(.*\): "),
                written_whole(tmp_path / "a") as partial,
            ):
                write(partial)
            assert names(tmp_path) == ["a"]

    (tmp_path / "a").write_text("old")
    assert in_child(save_all) == 0
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_is_replaced_when_its_successor_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for content in ("first", "second"):
        with folder_lock(folder), replaced_folder(folder, made_with="record") as partial:
            assert names(partial) == []
            (partial / "record").write_text(content)
            (partial / content).touch()
        assert names(folder) == sorted(["record", content])
    with pytest.raises(ZeroDivisionError), replaced_folder(folder, made_with="record"):
        _ = 1 / 0
    assert (folder / "record").read_text() == "second"
    assert names(tmp_path) == [".data.lock", "data"]


def test_a_linked_folder_is_replaced_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "disk" / "data").mkdir(parents=True)
    link = tmp_path / "data"
    link.symlink_to(tmp_path / "disk" / "data")
    for content in ("first", "second"):
        with folder_lock(link), replaced_folder(link, made_with="record") as partial:
            (partial / "record").write_text(content)
    assert link.is_symlink()
    assert (link / "record").read_text() == "second"
    assert names(tmp_path / "disk") == [".data.lock", "data"]


def test_folders_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").touch()
    with (
        pytest.raises(UserError, match=r"data exists and holds other files \(no record\): move"),
        replaced_folder(tmp_path / "data", made_with="record"),
    ):
        pytest.fail("the block must not run")
    assert names(tmp_path) == ["data"]
