"""Readers: in order, ahead of their time, and replaced when they hang."""

import threading
import time
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch

pytest.importorskip("openslide", reason="openslide is missing: pip install 'cfrsam_d2[slides]'")
from cfrsam_d2.errors import UserError
from cfrsam_d2.slides.lattice import Box
from cfrsam_d2.slides.read_ahead import ReadAhead
from cfrsam_d2.slides.transfer import on_device

BOXES = [Box(x, 0, x + 4, 3) for x in range(30)]


class Stub:
    """A slide whose pixels say where they are; some boxes make a thread wait for ever."""

    def __init__(self, hangs: dict[Box, int], error: Exception | None = None) -> None:
        self.path = Path("slide.svs")
        self.hangs, self.error = hangs, error
        self.forever = threading.Event()
        self.read_boxes: list[Box] = []

    def read(self, *box: int) -> np.ndarray:
        self.read_boxes.append(Box(*box))
        if self.hangs.get(Box(*box), 0):
            self.hangs[Box(*box)] -= 1
            self.forever.wait()
        if self.error is not None:
            raise self.error
        time.sleep(0.001 * (box[0] % 3))
        return np.full((3, 4, 3), box[0], np.uint8)

    def reopen(self) -> Self:
        return self

    def close(self) -> None: ...


def read_all(stub: Stub, threads: int, ahead: int = 3) -> list[int]:
    with ReadAhead(stub, threads) as regions:
        return [int(pixels[0, 0, 0]) for _, pixels in regions.read(BOXES, lambda box: box, ahead)]


def test_pixels_come_in_order_whatever_the_threads() -> None:
    for threads in (1, 2, 4):
        assert read_all(Stub({}), threads) == [box.x0 for box in BOXES]


def test_no_more_is_read_than_is_asked_for_ahead() -> None:
    stub = Stub({})
    with ReadAhead(stub, 2) as regions:
        stream = regions.read(BOXES, lambda box: box, ahead=5)
        next(stream)
        time.sleep(0.2)
        assert len(stub.read_boxes) == 6


def test_a_thread_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.read_ahead.HANGS", 0.2)
    monkeypatch.setattr("cfrsam_d2.slides.read_ahead._FAREWELL", 0.1)
    for threads in (1, 2):
        stub = Stub({BOXES[7]: 1})
        assert read_all(stub, threads) == [box.x0 for box in BOXES]
        stub.forever.set()


def test_what_hangs_again_fails_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cfrsam_d2.slides.read_ahead.HANGS", 0.2)
    monkeypatch.setattr("cfrsam_d2.slides.read_ahead._FAREWELL", 0.1)
    stub = Stub({BOXES[7]: 9})
    with pytest.raises(UserError, match=r"slide\.svs cannot be read: .* x 7, y 0 .*run the same"):
        read_all(stub, 2)
    stub.forever.set()


def test_errors_of_threads_reach_the_reader() -> None:
    with pytest.raises(UserError, match="gone"):
        read_all(Stub({}, UserError("gone")), 2)


def test_for_a_gpu_pixels_are_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def pin_memory(tensor: torch.Tensor) -> torch.Tensor:  # what needs a GPU
        copy = tensor.clone()
        held.append(copy.data_ptr())
        return copy

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin_memory)
    with ReadAhead(Stub({}), 1, pin=True) as regions:
        found = [pixels for _, pixels in regions.read(BOXES, lambda box: box, ahead=3)]
    assert [pixels.ctypes.data for pixels in found] == held
    assert [int(pixels[0, 0, 0]) for pixels in found] == [box.x0 for box in BOXES]
    read_all(Stub({}), 1)
    assert len(held) == len(BOXES)


def test_pixels_become_tensors() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    for each in (pixels, pixels[:, ::2], np.broadcast_to(pixels[:1], (5, 4, 3))):
        tensor = on_device(each, torch.device("cpu"))
        assert tensor.is_contiguous()
        np.testing.assert_array_equal(tensor.numpy(), each.transpose(2, 0, 1))
