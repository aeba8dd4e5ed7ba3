"""The folder of a run: had by one process, and left as an uninterrupted run leaves it."""

import json
import multiprocessing
import os
import signal
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from cfrsam_d2.engine.run_folder import (
    check_unused,
    forget_lines,
    last_checkpoint,
    locked_folder,
    remove_leftovers,
)
from cfrsam_d2.errors import UserError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def assert_refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message), locked_folder(str(folder)):
        pytest.fail("it is locked")


def hold(folder: str, is_locked: Event) -> None:
    os.setpgrp()
    with locked_folder(folder):
        if os.fork():
            is_locked.set()
        time.sleep(600)  # the child, too, as a loader's worker


def test_the_lock_ends_with_its_process_not_with_its_children(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "output"
    fork = multiprocessing.get_context("fork")
    is_locked = fork.Event()
    holder = fork.Process(target=hold, args=(str(folder), is_locked))
    holder.start()
    assert holder.pid is not None
    try:
        assert is_locked.wait(60)
        before = names(folder)
        assert_refused(
            folder, r"^another training .* is running in OUTPUT_DIR .*: wait for its end"
        )
        assert names(folder) == before
        holder.kill()
        holder.join()
        with locked_folder(str(folder)):
            pass
    finally:
        os.killpg(holder.pid, signal.SIGKILL)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    too_long = tmp_path / (300 * "x")
    for path in (tmp_path / "file", tmp_path / "file" / "below", too_long, Path("/proc/none")):
        assert_refused(path, r"^OUTPUT_DIR '.*' cannot be made or written to \(")
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("name", ["last_checkpoint", "model_best.pth", "model_final.pth"])
def test_a_new_training_does_not_write_over_an_earlier_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").touch()  # of one that ended before it had anything to keep
    check_unused(str(tmp_path))
    (tmp_path / name).touch()
    with pytest.raises(UserError, match=rf"has an earlier training \({name}\): continue it with "):
        check_unused(str(tmp_path))


def test_the_last_checkpoint(tmp_path: Path) -> None:
    assert last_checkpoint(str(tmp_path)) is None
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth\n")
    with pytest.raises(UserError, match=r"names 'model_0000003.pth', which is no file of that fol"):
        last_checkpoint(str(tmp_path))
    (tmp_path / "model_0000003.pth").touch()
    assert last_checkpoint(str(tmp_path)) == tmp_path / "model_0000003.pth"
    for damaged in (b"", b"\0", b"\xff", b"../x.pth", b"."):
        (tmp_path / "last_checkpoint").write_bytes(damaged)
        with pytest.raises(UserError, match="which is no file of that folder: write the name of a"):
            last_checkpoint(str(tmp_path))


def test_leftovers_of_killed_processes(tmp_path: Path) -> None:
    """All periodic checkpoints but the one to go on from, and halves; nothing else."""
    scores = tmp_path / "inference" / "toy"
    scores.mkdir(parents=True)
    mine = ["model_best.pth", "model_final.pth", "model_mine.pth", "model_0000003.pth.bak", ".x"]
    for name in mine:
        (tmp_path / name).touch()
    for iteration in (3, 7, 11, 15):
        (tmp_path / f"model_{iteration:07}.pth").touch()
    for half in (tmp_path / ".model_0000019.pth.partial", scores / ".images.csv.partial"):
        half.touch()
    kept = remove_leftovers(str(tmp_path), 12)
    assert kept == [str(tmp_path / "model_0000011.pth")]
    assert names(tmp_path) == {*mine, "model_0000011.pth", "inference"}
    assert names(scores) == set()
    assert remove_leftovers(str(tmp_path), 2) == []


def test_lines_that_come_again_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "metrics.json"
    forget_lines(file, 3)
    assert not file.exists()
    lines = [json.dumps({"iteration": iteration, "loss": 0.5}) for iteration in (19, 9, 39, 45)]
    damaged = ['{"iteration": 4{"iteration": 9}', "[]", "{}", '{"iteration": "x"}']
    file.write_text("\n".join([*lines, *damaged]) + '\n{"iteration": 1, "lo')
    forget_lines(file, 40)
    assert file.read_text() == "\n".join(lines[:3]) + "\n"
    forget_lines(file, 0)
    assert file.read_text() == ""
