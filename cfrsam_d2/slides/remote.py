"""Objects of stores and web servers by their URL (`s3://`, `gs://`, `https://`), through fsspec.

A connection that is lost is tried again; what then still fails is one sentence with the URL.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..errors import UserError
from ..files import is_disk_error
from ..remote_path import RemotePath
from .steady import PAUSES

_BLOCK, _BLOCKS = 2**18, 128  # bytes that one request reads; blocks that a handle keeps, 32 MiB
_SILENCE = 60  # s after which a web server that sends nothing is given up
_VERSION = ("ETag", "etag", "generation", "LastModified", "Last-Modified", "mtime", "created")
_PACKAGES = "`pip install 'cfrsam_d2[remote]'`, for gs:// `pip install gcsfs`"
_CREDENTIALS = (
    "set those of the store (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; "
    "GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_S3_ANON=true for a public bucket)"
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFacts:
    """
    Attributes:
        size: bytes.
        version: changes when the object does; empty if the store does not say.
    """

    size: int
    version: str


def look_up(path: RemotePath) -> RemoteFacts:
    """
    Raises:
        UserError: there is no such object, or its length is not known.
    """
    files, name = open_store(path)
    info = retried(path, lambda: files.info(name))
    if info["type"] == "directory":
        raise UserError(f"{path} is a folder: name the file of the slide in it")
    if info["size"] is None:
        raise UserError(f"{path} comes without its length: copy the file, and name the copy")
    if info["size"] == 0:
        raise UserError(f"{path} is empty (0 bytes): copy it again")
    return RemoteFacts(info["size"], next((str(info[key]) for key in _VERSION if key in info), ""))


def download(path: RemotePath, copy: Path, facts: RemoteFacts) -> None:
    """Copy an object into a file.

    Raises:
        UserError: it is not what was looked up, or cannot be reached.
        OSError: the disk is full, say.
    """
    files, name = open_store(path)

    def get() -> None:
        files.get_file(name, str(copy))
        got = copy.stat().st_size
        if got != facts.size:
            raise ConnectionError(f"{got} of {facts.size} bytes came")

    retried(path, get)
    if look_up(path) != facts:
        raise UserError(f"{path} was changed while it was copied: run the same command again")


def read_object(path: RemotePath) -> bytes | None:
    """The content of a small object; None if there is none."""
    files, name = open_store(path)

    def read() -> bytes | None:
        try:
            return files.cat_file(name)
        except FileNotFoundError:
            return None

    return retried(path, read)


class RemoteFile:
    """An object read by range, in blocks of which it keeps the last used ones.

    Once the connection is lost for good, it stays so: a reader shall not take what it could not
    read for something that is not there.
    """

    def __init__(self, path: RemotePath) -> None:
        """
        Raises:
            UserError: it cannot be opened.
        """
        self._path = path
        self._lost: UserError | None = None
        files, name = open_store(path)
        self._file = retried(
            path,
            lambda: files.open(
                name,
                "rb",
                block_size=_BLOCK,
                cache_type="blockcache",
                cache_options={"maxblocks": _BLOCKS},
            ),
        )

    def read(self, size: int = -1) -> bytes:
        """
        Raises:
            UserError: the connection was lost, or the server sends no ranges.
        """
        if self._lost is not None:
            raise self._lost
        try:
            return retried(self._path, lambda: self._file.read(size))
        except UserError as error:
            self._lost = error
            raise

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()


def open_store(path: RemotePath) -> tuple[Any, str]:
    """fsspec's file system, and what the object is called there.

    Raises:
        UserError: the protocol is unknown, or its package not installed.
    """
    try:
        import fsspec

        return fsspec.url_to_fs(path.url, use_listings_cache=False, **_options(path))
    except ImportError as error:
        raise UserError(f"{path} cannot be opened ({error}): {_PACKAGES}") from None
    except ValueError as error:
        raise UserError(
            f"{path} cannot be opened ({error}): name s3://, gs:// or https://"
        ) from None


def _options(path: RemotePath) -> dict[str, Any]:
    if not path.is_http:
        return {}
    import aiohttp

    # By default, aiohttp ends after five minutes, and goes past the proxy of the network.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


def retried(path: RemotePath, action: Callable[[], Result]) -> Result:
    """What `action` returns; if the connection is lost, it is tried three times more.

    Raises:
        UserError: the store refuses, has no such object, or stays out of reach.
    """
    for pause in (*PAUSES, None):
        try:
            return action()
        except Exception as error:  # of each store's own library
            if isinstance(error, UserError) or is_disk_error(error):
                raise
            cause = _cause(path, error)
            text = f"{type(cause).__name__}: {cause}".replace(path.url, str(path))
            reason = " ".join(text.split())
            if refusal := _refusal(cause):
                raise UserError(f"{path} {refusal.format(reason=reason)}") from None
            if pause is None:
                raise UserError(
                    f"{path} cannot be reached ({reason}): run the same command again when it can"
                ) from None
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _cause(path: RemotePath, error: Exception) -> BaseException:
    """Of every failure, fsspec's HTTP says that the file is not there, and the cause says why."""
    if path.is_http and isinstance(error, FileNotFoundError):
        return error.__cause__ or error
    return error


def _refusal(error: BaseException) -> str:
    """What is wrong that waiting does not mend; empty if it may."""
    status = getattr(error, "status", None)  # of HTTP
    if isinstance(error, FileNotFoundError) or status in (404, 410):
        return "does not exist: check the bucket or server, and the name"
    if isinstance(error, ValueError):  # of names that no bucket has, or no ranges from a server
        return "cannot be read ({reason}): check the name, or copy the file and name the copy"
    if isinstance(error, PermissionError) or status in (401, 403):
        return f"is refused ({{reason}}): check the name and your rights, and {_CREDENTIALS}"
    if "credentials" in type(error).__name__.lower():  # botocore's and Google's
        return f"needs credentials ({{reason}}): {_CREDENTIALS}"
    return ""
