"""The folder that a run's results go to: which files there are, complete ones, the run's record."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from ..data.image_files import LABEL_MAP, OVERLAY, RECORD_NAME
from ..errors import UserError
from ..files import write_bytes, written_whole
from .coco import coco_part, merge_coco_parts
from .geojson import feature_collection
from .label_map import label_npy, label_tiff
from .overlay import overlay_png
from .prediction import Prediction
from .table import nucleus_table

COCO_NAME = "nuclei.json"


class Format(NamedTuple):
    """How the file of an image is made and called: `pattern` with the image's name."""

    pattern: str
    encode: Callable[[Prediction], bytes]
    needs_masks: bool = False


FORMATS = {
    "geojson": Format("{}.geojson", lambda each: json.dumps(feature_collection(each)).encode()),
    "csv": Format("{}.csv", lambda each: nucleus_table(each).encode()),
    "tiff": Format(LABEL_MAP, label_tiff, True),
    "npy": Format("{}.npy", label_npy, True),
    # What nuclei.json is merged from; kept, so that a run can be resumed.
    "coco": Format(".coco/{}.json", lambda each: json.dumps(coco_part(each)).encode(), True),
    "overlay": Format(OVERLAY, overlay_png),
}


class ExportFolder:
    """Writes the files of images, each as a whole: a file that is there is complete."""

    def __init__(self, folder: Path, formats: Sequence[str]) -> None:
        """
        Args:
            folder: made if it is not there.
            formats: of FORMATS.
        """
        self._folder = folder
        self._record = folder / RECORD_NAME
        self._formats = [FORMATS[name] for name in dict.fromkeys(formats)]
        self._has_coco = "coco" in formats

    def start(self, record: str, *, resume: bool) -> None:
        """Note what the results are made with; files from before then do not count as results.

        Args:
            record: the run's config as text.
            resume: let the results of an earlier run with the same record count.

        Raises:
            UserError: the earlier run had another config, or the folder cannot be written to.
        """
        if not (resume and self._record.is_file()):
            write_bytes(self._record, record.encode())
        elif self._record.read_bytes() != record.encode():
            raise UserError(
                f"{self._record} is of a run with another config or other weights: "
                "choose another --output, or start again without --resume"
            )

    def is_complete(self, name: str) -> bool:
        """Whether an image has a result of every format."""
        return all(self._is_result(path) for path in self._paths(name))

    def encode(self, prediction: Prediction) -> list[bytes]:
        """The contents of an image's files, one per format; with masks if one needs them."""
        return [each.encode(prediction) for each in self._formats]

    def write(self, name: str, contents: Sequence[bytes]) -> None:
        """Write the files of an image, in place of older ones; where one cannot be, none is.

        Args:
            name: what they begin with.
            contents: of `encode`.

        Raises:
            UserError: the folder cannot be written to.
        """
        with ExitStack() as renamed_together:
            for path, content in zip(self._paths(name), contents, strict=True):
                renamed_together.enter_context(written_whole(path)).write_bytes(content)

    def finish(self, names: Iterable[str], classes: Sequence[str]) -> None:
        """Write nuclei.json, if COCO is among the formats, of those images that have results."""
        if self._has_coco:
            files = [self._folder / FORMATS["coco"].pattern.format(name) for name in names]
            parts = (json.loads(file.read_bytes()) for file in files if self._is_result(file))
            data = merge_coco_parts(parts, classes)
            write_bytes(self._folder / COCO_NAME, json.dumps(data).encode())

    def _paths(self, name: str) -> list[Path]:
        return [self._folder / each.pattern.format(name) for each in self._formats]

    def _is_result(self, path: Path) -> bool:
        try:
            found = path.stat()
        except OSError:  # not there, or of a name that no file can have
            return False
        return S_ISREG(found.st_mode) and found.st_mtime_ns >= self._record.stat().st_mtime_ns
