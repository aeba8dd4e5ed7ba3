"""Downloads from a local server: whole, resumed, damaged, refused, offline."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cfrsam_d2.apps import download as app
from cfrsam_d2.apps.download import WEIGHTS, Weights, download
from cfrsam_d2.commands.download import NAMES
from cfrsam_d2.errors import UserError

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Server(ThreadingHTTPServer):
    """Sends CONTENT; what it is asked for, and how it answers, can be seen and set."""

    ranges = True  # whether it knows them
    cut_after = len(CONTENT)  # bytes of an answer after which the connection ends
    status = 0  # of all answers, if not 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "bytes=0-")
        self.server.asked.append(wanted)
        if self.server.status:
            self.send_error(self.server.status)
            return
        start = int(wanted[len("bytes=") : -1]) if self.server.ranges else 0
        self.send_response(206 if self.server.ranges else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : start + self.server.cut_after])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/sam_vit_b_01ec64.pth"
        weights = Weights(url, len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
        monkeypatch.setitem(app.WEIGHTS, "sam-b", weights)
        yield server
        server.shutdown()


def test_a_whole_file_is_loaded_once(server: Server, tmp_path: Path) -> None:
    path = download("sam-b", tmp_path / "weights")
    assert path == tmp_path / "weights" / "sam_vit_b_01ec64.pth"
    assert path.read_bytes() == CONTENT
    assert download("sam-b", tmp_path / "weights") == path
    assert server.asked == ["bytes=0-"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("ranges", [True, False])
def test_what_was_interrupted_goes_on(ranges: bool, server: Server, tmp_path: Path) -> None:
    server.cut_after = 3_000_000
    with pytest.raises(UserError, match=r"sam_vit_b_01ec64\.pth .*: the same command goes on"):
        download("sam-b", tmp_path)
    server.cut_after, server.ranges = len(CONTENT), ranges
    assert download("sam-b", tmp_path).read_bytes() == CONTENT
    assert server.asked[1].startswith("bytes=")
    assert server.asked[1] != "bytes=0-"


def test_another_file_than_it_should_be_is_not_kept(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = app.WEIGHTS["sam-b"]._replace(sha256="0" * 64)
    monkeypatch.setitem(app.WEIGHTS, "sam-b", wrong)
    with pytest.raises(UserError, match="gave another file than it should"):
        download("sam-b", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_that_is_there_is_named_and_left(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "sam_vit_b_01ec64.pth"
    path.write_bytes(b"mine")
    with pytest.raises(UserError, match=r"sam_vit_b_01ec64\.pth is damaged or another file"):
        download("sam-b", tmp_path)
    assert path.read_bytes() == b"mine"


def test_a_server_that_refuses_or_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    server.status = 403
    with pytest.raises(UserError, match=r"cannot be read \(Forbidden\)"):
        download("sam-b", tmp_path)
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"without a network, put the file into"):
        download("sam-b", tmp_path)


def test_the_hub_is_asked_for_convnext(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(repository: str, file: str, local_dir: Path) -> str:
        assert (repository, file) == ("timm/convnext_small.fb_in1k", "model.safetensors")
        (local_dir / file).write_bytes(b"weights")
        return str(local_dir / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", load)
    path = download("convnext-s", tmp_path)
    assert path == tmp_path / "convnext_small.fb_in1k.safetensors"
    assert path.read_bytes() == b"weights"
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)  # it is there
    assert download("convnext-s", tmp_path) == path


def test_offline_the_hub_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*args: str, **options: Path) -> str:
        raise OSError("offline mode\nis enabled")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", load)
    with pytest.raises(UserError, match=r"\(offline mode is enabled\): try again; without a netw"):
        download("convnext-s", tmp_path)


def test_the_names_of_the_command_are_those_that_there_are() -> None:
    assert (*WEIGHTS, app.CONVNEXT) == NAMES
