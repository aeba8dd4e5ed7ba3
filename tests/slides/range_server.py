"""A web server that sends files by range, counts what it sends, and can fail."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class RangeServer(ThreadingHTTPServer):
    """
    Attributes:
        files: by name.
        sent: bytes of files.
        gets: requests for content.
        drops: of the next of these, how many end midway.
        knows_ranges: else it sends files whole.
        stall: where it is, content waits for it.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.sent = self.gets = self.drops = 0
        self.knows_ranges = True
        self.stall: threading.Event | None = None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: RangeServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(with_content=False)

    def do_GET(self) -> None:
        self._answer(with_content=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, with_content: bool) -> None:
        name = self.path[1:].partition("?")[0]
        if name not in self.server.files:
            self.send_error(403 if name.startswith("secret") else 404)
            return
        content = self.server.files[name]
        asked = self.headers.get("Range") if self.server.knows_ranges else None
        start, _, end = (asked or "bytes=0-").removeprefix("bytes=").partition("-")
        piece = content[int(start) : int(end) + 1 if end else None]
        self.send_response(206 if asked else 200)
        if asked:
            last = int(start) + len(piece) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        self.send_header("Content-Length", str(len(piece)))
        self.send_header("ETag", f'"{hash(content)}"')
        self.end_headers()
        if with_content:
            self._send(piece)

    def _send(self, piece: bytes) -> None:
        self.server.gets += 1
        if self.server.stall is not None:
            self.wfile.write(piece[:10])
            self.server.stall.wait(20)
            piece = piece[10:]
        if self.server.drops > 0:
            self.server.drops -= 1
            self.wfile.write(piece[: len(piece) // 2])
            self.close_connection = True
            return
        self.server.sent += len(piece)
        self.wfile.write(piece)


@contextmanager
def range_server() -> Iterator[RangeServer]:
    with RangeServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
