"""Results that go to a store: made in a local folder, with its parts, and then uploaded."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import folder_lock, write_bytes
from ..remote_path import AnyPath, RemotePath
from .record import RECORD_NAME, check_record, start_record
from .remote import open_store, read_object, retried
from .writers.summary import SUMMARY_NAME, Found, found_in, read_found


@dataclass(frozen=True)
class Results:
    """Where the files of a slide are made.

    Attributes:
        folder: local.
        remote: where they go; None if they stay.
        summary: what is there of an earlier run; None if it did not end.
    """

    folder: Path
    remote: RemotePath | None = None
    summary: bytes | None = None

    @property
    def are_there(self) -> bool:
        """Whether a run has uploaded them all."""
        return self.summary is not None

    def start_record(self, description: Mapping[str, Any]) -> None:
        """Write `run.yaml`, or compare it with those of earlier runs.

        Raises:
            UserError: they differ.
        """
        if self.remote is not None:
            there = self.remote / RECORD_NAME
            if (record := read_object(there)) is not None:
                check_record(record, there, description)
        if not self.are_there:
            start_record(self.folder, description)

    def found(self) -> Found:
        """What was found, when the files are there.

        Raises:
            UserError: the summary is damaged.
        """
        if self.summary is not None:
            assert self.remote is not None
            return found_in(self.summary, self.remote / SUMMARY_NAME)
        return read_found(self.folder / SUMMARY_NAME)


@contextmanager
def results_of(folder: AnyPath, cache: Path) -> Iterator[Results]:
    """Lock the folder of a slide's results; a remote one's files are uploaded when the block ends.

    Args:
        folder: of the results.
        cache: has a folder `results/` for those whose place is a store.

    Raises:
        UserError: a store cannot be reached or written to.
    """
    if isinstance(folder, Path):
        with folder_lock(folder):
            yield Results(folder)
        return
    digest = hashlib.sha256(folder.url.encode()).hexdigest()[:24]
    local = cache / "results" / digest / folder.name
    with folder_lock(local):
        results = Results(local, folder, read_object(folder / SUMMARY_NAME))
        yield results
        if not results.are_there:
            retried(folder, lambda: _upload(local, folder))
        shutil.rmtree(local, ignore_errors=True)


def check_output(output: AnyPath) -> None:
    """
    Raises:
        UserError: it is no store to write to, or cannot be reached.
    """
    if isinstance(output, RemotePath):
        if output.is_http:
            raise UserError(
                f"--output {output} cannot be written to: name s3://, gs:// or a folder"
            )
        files, root = open_store(output)
        retried(output, lambda: files.info(root.partition("/")[0]))  # the bucket


def write_result(path: AnyPath, content: bytes) -> None:
    """Write a small file, whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    if isinstance(path, Path):
        write_bytes(path, content)
        return
    files, name = open_store(path)
    retried(path, lambda: files.pipe_file(name, content))


def _upload(local: Path, remote: RemotePath) -> None:
    """Upload what is not there in the same length: the record before all else, the summary last."""
    files, root = open_store(remote)
    names = [
        path.relative_to(local).as_posix()
        for path in sorted(local.rglob("*"))
        if path.is_file() and not path.relative_to(local).parts[0].startswith(".")
    ]
    lengths = {path: info["size"] for path, info in files.find(root, detail=True).items()}
    missing = [
        name
        for name in names
        if name not in (RECORD_NAME, SUMMARY_NAME)
        and lengths.get(f"{root}/{name}") != (local / name).stat().st_size
    ]
    for batch in ([RECORD_NAME], missing, [SUMMARY_NAME]):
        files.put([str(local / name) for name in batch], [f"{root}/{name}" for name in batch])
