"""What `SlideReader` wants of a library that reads slides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, Self

import numpy as np

from ..errors import UserError
from ..remote_path import AnyPath

Box = tuple[int, int, int, int]  # x0, y0, x1, y1 in px, ends excluded
Color = tuple[int, int, int]  # RGB

WHITE: Color = (255, 255, 255)


class Level(NamedTuple):
    """One resolution of a slide.

    Attributes:
        size: width and height in px.
        downsample: level-0 px per px.
        tile: width and height in px of what the file decodes at once.
        exact: whether its pixels can be had from any corner without interpolation.
    """

    size: tuple[int, int]
    downsample: float = 1.0
    tile: tuple[int, int] = (256, 256)
    exact: bool = True


@dataclass(frozen=True)
class SlideFacts:
    """What a file says about itself.

    Attributes:
        levels: finest first.
        mpp: µm/px of level 0 in x and y; None if the file does not say.
        objective: its magnification; None if the file does not say.
        background: the colour of what was not scanned.
        origin: x, y in level-0 px of the scanned part, which QuPath counts from.
        properties: for the record of a run: format, vendor, quickhash …
    """

    levels: tuple[Level, ...]
    mpp: tuple[float, float] | None = None
    objective: float | None = None
    background: Color = WHITE
    origin: tuple[int, int] = (0, 0)
    properties: Mapping[str, str] = field(default_factory=dict)


class Backend(Protocol):
    """An open file. One thread at a time may read from it."""

    facts: SlideFacts

    @property
    def path(self) -> AnyPath: ...

    def read(self, level: int, box: Box) -> np.ndarray:
        """(h, w, 3) uint8 RGB of `box`, in px of the level and inside it.

        Raises:
            Exception: whatever the library raises when the file is damaged there.
        """
        ...

    def reopen(self) -> Self:
        """Another handle of the file, for another thread or after an error."""
        ...

    def close(self) -> None: ...


def on_background(rgba: np.ndarray, background: Color) -> np.ndarray:
    """Lay (h, w, 4) uint8 pixels, with their opacity last, on a colour: (h, w, 3) uint8."""
    rgb, opacity = rgba[..., :3], rgba[..., 3:]
    if opacity.min() == 255:
        return np.ascontiguousarray(rgb)
    mixed = rgb * opacity.astype(np.uint32) + np.array(background, np.uint32) * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)


def no_slide(path: AnyPath, what: str) -> UserError:
    return UserError(f"{path} holds no slide but {what}: name the file of the slide itself")


def no_brightfield(path: AnyPath, what: str) -> UserError:
    return UserError(
        f"{path} is no H&E slide in 8-bit RGB ({what}): scan or export it in brightfield RGB with "
        "8 bits a channel"
    )
