"""The peers of `peers.py`, in their environment: networks with random weights, timed when asked.

    python benchmarks/peers_models.py IMAGE.npy THREADS NETWORK …

Nothing of the project is imported. The first line of the output says which packages compute; then
each line `run NETWORK SIZE STRIDE COUNT` of the input is answered by the seconds that the network
takes for COUNT×COUNT tiles of the image (3, side, side). It ends with its input.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import version
from typing import TextIO

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 8  # tiles at once, the default of both packages
# As both packages' networks of PanNuke: the background and five classes; 19 tissues.
NUCLEUS_TYPES, TISSUES = 6, 19


def cellvit_256() -> nn.Module:
    from cellvit.models.cell_segmentation.cellvit_256 import (  # pyright: ignore[reportMissingImports]
        CellViT256,
    )

    return CellViT256(None, NUCLEUS_TYPES, TISSUES)


def cellvit_sam(encoder: str) -> nn.Module:
    from cellvit.models.cell_segmentation.cellvit_sam import (  # pyright: ignore[reportMissingImports]
        CellViTSAM,
    )

    return CellViTSAM(None, NUCLEUS_TYPES, TISSUES, encoder)


def hovernet() -> nn.Module:
    from tiatoolbox.models.architecture.hovernet import (  # pyright: ignore[reportMissingImports]
        HoVerNet,
    )

    return HoVerNet(num_types=NUCLEUS_TYPES, mode="fast")


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "cellvit_256": cellvit_256,
    "cellvit_sam_b": partial(cellvit_sam, "SAM-B"),
    "cellvit_sam_h": partial(cellvit_sam, "SAM-H"),
    "hovernet": hovernet,
}


def cut(image: Tensor, size: int, stride: int, count: int) -> Tensor:
    """The first tiles of an image, count in a row, (count², 3, size, size)."""
    tiles = image.unfold(1, size, stride)[:, :count].unfold(2, size, stride)[:, :, :count]
    return tiles.permute(1, 2, 0, 3, 4).flatten(0, 1).contiguous()


@torch.inference_mode()
def seconds(network: nn.Module, tiles: Tensor) -> float:
    start = time.perf_counter()
    for batch in tiles.split(BATCH):
        network(batch)
    return time.perf_counter() - start


def answer(networks: dict[str, nn.Module], image: Tensor, lines: Iterable[str], to: TextIO) -> None:
    """Answer the lines of an input, one after the other."""
    for line in lines:
        _, name, *tiling = line.split()
        tiles = cut(image, *map(int, tiling))
        print(seconds(networks[name], tiles), file=to, flush=True)


def main() -> None:
    path, threads, *names = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # packages may print
    torch.set_num_threads(int(threads))
    torch.manual_seed(0)
    networks = {name: NETWORKS[name]().eval() for name in names}
    versions = {package: version(package) for package in ("torch", "cellvit", "tiatoolbox")}
    print(json.dumps(versions), file=answers, flush=True)
    image = torch.from_numpy(np.load(path)).float() / 255
    answer(networks, image, sys.stdin, answers)


if __name__ == "__main__":
    main()
