"""Copies on the local disk of slides that are in stores, up to a size.

What OpenSlide reads has to be a file. OME-TIFFs are read by tifffile wherever they are, and so by
range without a copy; no other TIFF is, though tifffile could: nuclei shall not depend on where a
slide is.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import delete_unless_kept, folder_lock, kept_file, make_folder, written_whole
from ..remote_path import AnyPath, RemotePath
from .remote import RemoteFacts, RemoteFile, download, look_up
from .tiff_backend import is_ome_tiff

_OF_SEVERAL_FILES = (".mrxs", ".vms", ".vmu", ".dcm")


def default_cache() -> Path:
    """The user's folder for what can be had again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cfrsam_d2"


@dataclass(frozen=True)
class SlideCache:
    """
    Attributes:
        folder: has the copies in `slides/`, a folder for each: its digest and its size.
        most_bytes: of all copies together.
    """

    folder: Path = field(default_factory=default_cache)
    most_bytes: int = 100 * 10**9

    @contextmanager
    def copied(self, path: RemotePath) -> Iterator[Path]:
        """Yield a copy of an object, which stays until the block ends and as long as there is room.

        Raises:
            UserError: the object cannot be read, or there is no room.
        """
        facts = look_up(path)
        digest = hashlib.sha256(f"{path} {facts.version}".encode()).hexdigest()[:24]
        copy = self.folder / "slides" / f"{digest}-{facts.size}" / path.name
        with kept_file(copy, lambda: self._copy(path, facts, copy)):
            yield copy

    def _copy(self, path: RemotePath, facts: RemoteFacts, copy: Path) -> None:
        self._make_room(path, facts.size, copy.parent)
        try:
            with written_whole(copy) as partial:
                download(path, partial, facts)
        except BaseException:
            shutil.rmtree(copy.parent, ignore_errors=True)
            raise

    def _make_room(self, path: RemotePath, size: int, folder: Path) -> None:
        """Delete what was not used for longest, and take the place of `size` bytes."""
        with folder_lock(folder.parent):
            others = [each for each in folder.parent.glob("[!.]*-*") if each != folder]
            excess = sum(map(_size, others)) + size - self.most_bytes
            for other in sorted(others, key=lambda each: each.stat().st_mtime):
                if excess > 0 and delete_unless_kept(other):
                    excess -= _size(other)
            if excess > 0:
                raise UserError(
                    f"{path} takes {size / 1e9:.3g} GB, {excess / 1e9:.3g} GB more than are left "
                    f"in {self.folder} beside the slides in use: raise --cache-gb"
                )
            make_folder(folder)


def _size(folder: Path) -> int:
    """Bytes of a copy, be it complete or not."""
    return int(folder.name.rpartition("-")[2])


@contextmanager
def fetched(slide: AnyPath, cache: SlideCache) -> Iterator[AnyPath]:
    """Yield what to open for a slide: itself, if it is a file or can be read by range; or a copy.

    Raises:
        UserError: it cannot be read, or has several files.
    """
    if isinstance(slide, Path) or _is_read_by_range(slide):
        yield slide
        return
    _check_alone(slide, slide.suffix.lower() in _OF_SEVERAL_FILES)
    with copied(slide, cache) as copy:
        _check_alone(slide, _is_dicom(copy))
        yield copy


@contextmanager
def copied(path: AnyPath, cache: SlideCache) -> Iterator[Path]:
    """Yield a file, or a copy of an object; errors of the block name the object.

    Raises:
        UserError: it cannot be read.
    """
    if isinstance(path, Path):
        yield path
        return
    with cache.copied(path) as copy:
        try:
            yield copy
        except UserError as error:
            raise type(error)(str(error).replace(str(copy), str(path))) from error


def _is_read_by_range(slide: RemotePath) -> bool:
    look_up(slide)
    try:
        file = RemoteFile(slide)
        file.seek(-1, 2)
        return len(file.read(1)) == 1 and is_ome_tiff(slide)
    except UserError:  # where the connection was lost, making a copy says so
        return False


def _check_alone(slide: RemotePath, has_others: bool) -> None:
    if has_others:
        raise UserError(
            f"{slide} is one file of several, of which a store does not tell the others: copy them "
            "all, and name the local file"
        )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
