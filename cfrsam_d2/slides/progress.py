"""How far the passes over a slide are: a bar, or lines of JSON for machines."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tqdm import tqdm

from .lattice import Chunk

_BAR = "{desc} {n:.2f}/{total:.2f} mm² [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Progress:
    """
    Attributes:
        seconds: that this process has spent in each pass.
        resumed: whether an earlier process has done a part of them.
    """

    def __init__(
        self, slide: str, mm2: Mapping[Chunk, float], *, as_json: bool, bar: bool = True
    ) -> None:
        """
        Args:
            slide: its name.
            mm2: tissue in each chunk.
            as_json: print lines of JSON in place of a bar.
            bar: show one; several processes would draw over each other's.
        """
        self.seconds: dict[str, float] = {}
        self.resumed = False
        self._slide, self._mm2 = slide, mm2
        self._as_json, self._bar = as_json, bar and not as_json

    @contextmanager
    def of_pass(
        self, name: str, chunks: Sequence[Chunk], missing: Sequence[Chunk]
    ) -> Iterator[Callable[[Chunk, int], None]]:
        """Show a pass.

        Args:
            name: what it finds.
            chunks: of the pass.
            missing: those that are still to be done.

        Yields:
            What is told of each chunk that is done, and how much was found there.
        """
        self.resumed |= len(missing) < len(chunks)
        total, to_do = (sum(self._mm2[chunk] for chunk in some) for some in (chunks, missing))
        begun, done, found = time.perf_counter(), 0.0, 0

        def tell(chunk: Chunk, count: int) -> None:
            nonlocal done, found
            done, found = done + self._mm2[chunk], found + count
            bar.set_postfix_str(f"{found} {name}", refresh=False)
            bar.update(self._mm2[chunk])
            if self._as_json:
                seconds = time.perf_counter() - begun
                line = {
                    "slide": self._slide,
                    "pass": name,
                    "mm2": round(total - to_do + done, 4),
                    "of_mm2": round(total, 4),
                    "mm2_per_second": done / seconds,
                    "seconds_left": (to_do - done) * seconds / done if done else None,
                    "found": found,
                }
                print(json.dumps(line), flush=True)

        with tqdm(
            total=total,
            initial=total - to_do,
            desc=f"{self._slide}: {name}",
            unit="mm²",
            bar_format=_BAR,
            disable=not self._bar,
        ) as bar:
            yield tell
        self.seconds[name] = time.perf_counter() - begun
