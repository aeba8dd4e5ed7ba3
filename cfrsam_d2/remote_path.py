"""Where a slide or its results are: on a disk, or by a URL in a store (`s3://bucket/slide.svs`)."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote


@dataclass(frozen=True)
class RemotePath:
    """A URL with what is asked of a `Path`; as text without its query, which may hold a key."""

    url: str

    def __str__(self) -> str:
        return self.url.partition("?")[0] if self.is_http else self.url

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    @property
    def is_http(self) -> bool:
        return self.url.startswith(("http://", "https://"))

    @property
    def name(self) -> str:
        path = str(self).partition("://")[2]
        return PurePosixPath(unquote(path) if self.is_http else path).name

    @property
    def stem(self) -> str:
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix


AnyPath = Path | RemotePath


def path_or_url(text: str) -> AnyPath:
    """What a user has typed."""
    return RemotePath(text) if "://" in text else Path(text)
