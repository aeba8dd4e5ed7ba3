"""MATLAB files, read in a process of their own: damaged ones can end that of SciPy's reader."""

import atexit
import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np

from ...errors import UserError

_WORKER = Path(__file__).with_name("mat_worker.py")


def load_mat(path: str | Path) -> dict[str, np.ndarray]:
    """Read what label maps and types are called (`mat_worker.KEYS`).

    Returns:
        Arrays of numbers by name; what stands there and is none, as text.

    Raises:
        UserError: the file is missing, damaged or no MATLAB file, or of a version that SciPy cannot
            read.
    """
    if "\n" in str(path):
        raise UserError(f"{str(path)!r} has a line break in its name: rename it")
    try:
        data = _PROCESS.ask(str(Path(path).absolute()))
    except EOFError:
        raise _damaged(path, "its reader crashed") from None
    if "error" not in data:
        return data
    name, text = data["error"].tolist()
    if name == "FileNotFoundError":
        raise UserError(f"{path} does not exist: check the folder of the labels")
    if name == "NotImplementedError":
        raise UserError(f"{path} is a MATLAB 7.3 file: save it with save(…, '-v7')")
    if name == "MemoryError":
        raise UserError(
            f"{path} does not fit into the memory that a label file may take: it is damaged, or "
            "has to be cut into tiles"
        )
    raise _damaged(path, text)


def _damaged(path: str | Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged or no MATLAB file ({reason}): download or export it again")


class _Process:
    """Starts when it is first asked and again after a crash, and ends with the program."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        atexit.register(self.end)

    def ask(self, path: str) -> dict[str, np.ndarray]:
        """The answer about one file; EOFError if the process ends before."""
        if self._running is None:
            self._running = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        try:
            return self._exchange(self._running, path.encode("utf-8", "surrogateescape") + b"\n")
        except BaseException:  # also an interrupt: an answer that comes late belongs to no one
            self.end()
            raise

    @staticmethod
    def _exchange(process: subprocess.Popen[bytes], question: bytes) -> dict[str, np.ndarray]:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(question)
            process.stdin.flush()
        except BrokenPipeError:
            raise EOFError from None
        header = process.stdout.read(8)
        length = struct.unpack("<q", header)[0] if len(header) == 8 else 1
        content = process.stdout.read(length)
        if len(content) < length:
            raise EOFError
        with np.load(io.BytesIO(content)) as arrays:
            return dict(arrays)

    def end(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.communicate()
            self._running = None


_PROCESS = _Process()
