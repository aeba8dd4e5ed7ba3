"""`run.yaml`: what the files of a slide are made with. No run goes on with another's parts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from ..checkpoint.frozen import checksum
from ..engine.resuming import MAY_CHANGE, kept_keys
from ..errors import UserError
from ..files import write_bytes
from ..modeling.meta_arch import CFRSAM
from ..remote_path import AnyPath
from .reader import SlideReader
from .tissue import TissueMask

RECORD_NAME = "run.yaml"
_MAY_CHANGE = {*MAY_CHANGE, "SLIDE.READERS"}  # as many as the machine likes


def describe(
    cfg: CfgNode, model: CFRSAM, reader: SlideReader, tissue: TissueMask
) -> dict[str, Any]:
    """All that the nuclei of a slide follow from."""
    return {
        "slide": reader.path.name,
        "quickhash": reader.properties.get("quickhash", ""),
        "size": list(reader.level0_size),
        "mpp": reader.mpp,
        "tissue": tissue.digest(),
        "weights": f"{checksum(model, ''):08x}",
        "config": {key: value for key, value in kept_keys(cfg).items() if key not in _MAY_CHANGE},
    }


def start_record(folder: Path, description: Mapping[str, Any]) -> None:
    """Write the record, or compare it with that of an earlier run in the folder.

    Raises:
        UserError: they differ.
    """
    path = folder / RECORD_NAME
    if path.is_file():
        check_record(_read(path), path, description)
    else:
        write_bytes(path, _text(description).encode())


def check_record(record: bytes, path: AnyPath, description: Mapping[str, Any]) -> None:
    """Compare a run with that of a record.

    Args:
        record: content of the file.
        path: where it is.
        description: of the run.

    Raises:
        UserError: they differ.
    """
    before, now = _parse(record, path), yaml.safe_load(_text(description))
    if before == now:
        return
    what = ", ".join(_differing(before, now)) or "other entries"
    raise UserError(
        f"{path} is of a run with another {what}: give what that had, or another --output"
    )


def _text(description: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(description), sort_keys=False, allow_unicode=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _damaged(path, error) from None


def _parse(record: bytes, path: AnyPath) -> dict[str, Any]:
    try:
        content = yaml.safe_load(record.decode())
    except (ValueError, yaml.YAMLError) as error:
        raise _damaged(path, error) from None
    return content if isinstance(content, dict) else {}


def _damaged(path: AnyPath, error: Exception) -> UserError:
    return UserError(f"{path} is damaged ({error}): delete its folder")


def _differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the entries, and of the config's keys, that differ."""
    names = [key for key in now if key != "config" and before.get(key) != now[key]]
    earlier = before.get("config")
    earlier = earlier if isinstance(earlier, dict) else {}
    keys = {*earlier, *now["config"]}
    return names + sorted(key for key in keys if earlier.get(key) != now["config"].get(key))
