"""Parts: written behind the computation, and once more when the disk comes back."""

import threading
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="pyarrow is missing: pip install 'cfrsam_d2[slides]'")
import pyarrow as pa

from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.lattice import Box, Chunk
from cfrsam_d2.slides.parts import Parts

CHUNKS = [Chunk(number, Box(9 * number, 0, 9 * number + 9, 9)) for number in range(3)]
TABLE = pa.table({"a": [1, 2]})


def test_a_part_is_written_when_the_disk_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, chunk = Parts(tmp_path), CHUNKS[0]
    slept: list[float] = []
    monkeypatch.setattr("cfrsam_d2.slides.parts.PAUSES", (1, 4, 16))

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            (tmp_path / "000000.parquet").rmdir()

    monkeypatch.setattr("cfrsam_d2.slides.parts.time.sleep", sleep)
    (tmp_path / "000000.parquet").mkdir()
    parts.write(chunk, TABLE)
    assert (slept, parts.read(chunk)) == ([1, 4], TABLE)
    (tmp_path / "000000.parquet").unlink()
    (tmp_path / "000000.parquet").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        parts.write(chunk, TABLE)
    assert slept == [1, 4, 1, 4, 16]


def test_the_program_goes_on_while_a_part_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, may_write, at_work = Parts(tmp_path), threading.Event(), Parts.write

    def slow(self: Parts, chunk: Chunk, table: pa.Table) -> None:
        may_write.wait(60)
        at_work(self, chunk, table)

    monkeypatch.setattr(Parts, "write", slow)
    told: list[tuple[Chunk, int]] = []
    with parts.write_behind(lambda chunk, rows: told.append((chunk, rows))) as write:
        write(CHUNKS[0], TABLE)
        assert parts.missing(CHUNKS) == CHUNKS
        assert told == []
        may_write.set()
        write(CHUNKS[1], TABLE)
        assert told[:1] == [(CHUNKS[0], 2)]
    assert told == [(chunk, 2) for chunk in CHUNKS[:2]]
    assert parts.missing(CHUNKS) == CHUNKS[2:]


def test_what_cannot_be_written_is_told_at_the_next_part_or_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.parts.PAUSES", ())
    parts = Parts(tmp_path)
    (tmp_path / "000000.parquet").mkdir()
    told: list[Chunk] = []

    def write_behind(*chunks: Chunk) -> None:
        with parts.write_behind(lambda chunk, rows: told.append(chunk)) as write:
            for chunk in chunks:
                write(chunk, TABLE)

    for chunks in (CHUNKS[:1], CHUNKS):
        with pytest.raises(UserError, match=r"cannot write .*000000\.parquet"):
            write_behind(*chunks)
        assert told == []
        assert parts.missing(CHUNKS[1:]) == CHUNKS[1:]
