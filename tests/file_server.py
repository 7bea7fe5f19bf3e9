"""A server of files on this machine, which breaks off, redirects and refuses as a test asks."""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer(ThreadingHTTPServer):
    """Serves what is in `files`, by path, and notes paths and ranges that were asked for.

    Attributes:
        breaks_after: numbers of bytes after which the next answers break off.
        waits_after: numbers of bytes after which the next answers wait for `goes_on`; `waiting`
            says that one does.
        statuses: instead of the next answers.
        locations: where paths redirect to.
        shift: added to the first byte of a range, which is then another than was asked for.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes], context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.files = files
        self.url = f"http{'' if context is None else 's'}://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str | None]] = []
        self.breaks_after: list[int] = []
        self.waits_after: list[int] = []
        self.waiting, self.goes_on = threading.Event(), threading.Event()
        self.statuses: list[int] = []
        self.locations: dict[str, str] = {}
        self.knows_ranges, self.tells_length, self.shift = True, True, 0

    def handle_error(self, *_: Any) -> None:
        """Say nothing of clients that break off."""


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.path, self.headers["Range"]))
        if server.statuses:
            self.send_error(server.statuses.pop(0))
        elif location := server.locations.get(self.path):
            self.send_response(302)
            self.send_header("Location", location)
            self.end_headers()
        elif (content := server.files.get(self.path)) is None:
            self.send_error(404)
        else:
            self._send(content)

    def _send(self, content: bytes) -> None:
        span = re.fullmatch("bytes=([0-9]+)-", self.headers["Range"] or "")
        start = int(span[1]) if span and self.server.knows_ranges else 0
        self.send_response(206 if start else 200)
        if start:
            start += self.server.shift
            last, size = len(content) - 1, len(content)
            self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
        if self.server.tells_length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        most = self.server.breaks_after.pop(0) if self.server.breaks_after else len(content)
        content = content[start : start + most]
        if self.server.waits_after:
            first = self.server.waits_after.pop(0)
            self.wfile.write(content[:first])
            content = content[first:]
            self.server.waiting.set()
            self.server.goes_on.wait(60)
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def file_server(
    files: dict[str, bytes], context: ssl.SSLContext | None = None
) -> Iterator[FileServer]:
    """Run a server while the block lasts."""
    with FileServer(files, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
