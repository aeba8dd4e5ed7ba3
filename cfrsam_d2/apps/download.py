"""What `cfrsam download` does: pretrained weights, in pieces that an interruption does not lose."""

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from ..config import choose
from ..errors import UserError
from ..files import make_folder, write_errors_named


class Weights(NamedTuple):
    """A file that others offer."""

    url: str
    size: int  # bytes
    sha256: str

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


_META = "https://dl.fbaipublicfiles.com/segment_anything"
WEIGHTS = {
    "sam-b": Weights(
        f"{_META}/sam_vit_b_01ec64.pth",
        375_042_383,
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "sam-l": Weights(
        f"{_META}/sam_vit_l_0b3195.pth",
        1_249_524_607,
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "sam-h": Weights(
        f"{_META}/sam_vit_h_4b8939.pth",
        2_564_550_879,
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
}
CONVNEXT = "convnext-s"
CONVNEXT_REPOSITORY, CONVNEXT_FILE = "timm/convnext_small.fb_in1k", "model.safetensors"
FILES = {name: weights.file for name, weights in WEIGHTS.items()}
FILES[CONVNEXT] = "convnext_small.fb_in1k.safetensors"
_BLOCK = 2**20


def download(name: str, folder: Path) -> Path:
    """Get the weights of a name, or what is missing of them.

    Proxies are the environment's (HTTPS_PROXY, NO_PROXY).

    Args:
        name: "convnext-s" or one of `WEIGHTS`.
        folder: gets the file.

    Returns:
        The file.

    Raises:
        UserError: the network, the server or the disk fails, or what came is damaged.
    """
    make_folder(folder)
    if name == CONVNEXT:
        return _download_convnext(folder)
    weights = choose(WEIGHTS, name, "the name")
    path = folder / weights.file
    if not path.is_file():
        _download(weights, path)
    elif _sha256(path) != weights.sha256:
        raise UserError(f"{path} is damaged or another file: move it away, and download it again")
    return path


def _download(weights: Weights, path: Path) -> None:
    partial = path.with_name(path.name + ".partial")
    with write_errors_named(partial):
        _append_rest(weights, partial)
        if _sha256(partial) != weights.sha256:
            partial.unlink()
            raise UserError(f"{weights.url} gave another file than it should: try again later")
        partial.replace(path)


def _append_rest(weights: Weights, partial: Path) -> None:
    """Ask the server for the bytes that are not there yet."""
    done = partial.stat().st_size if partial.is_file() else 0
    if done >= weights.size:
        return
    request = urllib.request.Request(weights.url, headers={"Range": f"bytes={done}-"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            goes_on = answer.status == 206  # else the server sends all of it
            bar = tqdm(total=weights.size, initial=done * goes_on, unit="B", unit_scale=True)
            with bar, partial.open("ab" if goes_on else "wb") as file:
                while block := answer.read(_BLOCK):
                    file.write(block)
                    bar.update(len(block))
                file.flush()
                os.fsync(file.fileno())
        if partial.stat().st_size < weights.size:
            raise ConnectionError("the connection ended early")
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{weights.url} cannot be read ({reason}): the same command goes on from there; "
            f"without a network, put the file into {partial.parent} by other means"
        ) from None


def _download_convnext(folder: Path) -> Path:
    """From its hub, whose library resumes by itself."""
    from huggingface_hub import hf_hub_download  # takes a second

    path = folder / FILES[CONVNEXT]
    if path.is_file():
        return path
    try:
        loaded = hf_hub_download(CONVNEXT_REPOSITORY, CONVNEXT_FILE, local_dir=folder)
    except Exception as error:  # of many kinds
        raise UserError(
            f"{CONVNEXT_FILE} of {CONVNEXT_REPOSITORY} cannot be read "
            f"({' '.join(str(error).split())[:300]}): try again; without a network, put it into "
            f"{folder} as {path.name} by other means"
        ) from None
    return Path(loaded).replace(path)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
