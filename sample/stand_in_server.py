"""A stand-in for the face server, without a network: it reads the pictures of the synthetic sample.

Answers on the wire exactly as the container does, so that extraction and the demo can be tried and
measured without it; can be made slow or unreliable on purpose. Finds no face in real photos.
"""

import argparse
import base64
import binascii
import contextlib
import json
import os
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import TracebackType
from typing import Any, cast

import numpy as np
from PIL import Image

from faces.wire import ANSWER_KEY, BYTES, IMAGE_KEY, OLD_ANSWER_KEY, FaceArrays, encode_faces
from sample.grid_faces import FoundFace, find_faces

DEFAULT_PORT = 10002
SYNTHETIC_MODEL = "synthetic stand-in"
"""What the program calls its network, so that no record takes its vectors for real ones."""
MAX_BODY_BYTES = 64 * 2**20
IDLE_TIMEOUT_S = 60
ERROR_PAGE = "<!doctype html>\n<html lang=en>\n<title>{code} {name}</title>\n<h1>{name}</h1>\n"
UNREADABLE = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error, zlib.error),
    *(Image.DecompressionBombError, Image.DecompressionBombWarning),
)


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server behaves: a field is the option of the same name; 0 switches a fault off."""

    service_ms: float = _option(0.0, "milliseconds that a picture takes, at least")
    slots: int = _option(4, "pictures that are worked on at once; the others wait")
    fail_every: int = _option(0, "answer every Nth request with HTTP 503")
    garbage_every: int = _option(0, "answer every Nth request with JSON that is not a face")
    exit_after: int = _option(0, "die without an answer after N requests")
    key: str = _option(ANSWER_KEY, f"key of the faces; old containers answer {OLD_ANSWER_KEY}")
    model_name: str = _option("", "name of the network, to write into the answers")

    def __post_init__(self) -> None:
        if self.slots < 1:
            raise ValueError(f"slots is {self.slots}, expected 1 or more")
        for name in ("service_ms", "fail_every", "garbage_every", "exit_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")


class StandInServer:
    """The server, running in a thread while the `with` block lasts.

    >>> with StandInServer() as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", behaviour: Behaviour | None = None
    ) -> None:
        self._server = _Server((host, port), behaviour or Behaviour(), self._die)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    @property
    def url(self) -> str:
        """The address to send pictures to; port 0 has become a free port."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    @property
    def num_requests(self) -> int:
        """Pictures sent so far, answered or not."""
        return self._server.num_requests

    @property
    def num_connections(self) -> int:
        """Connections opened so far."""
        return self._server.num_connections

    def __enter__(self) -> "StandInServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _die(self) -> None:
        """Stop listening, as a program that died; the `with` block goes on."""
        self._server.shutdown()
        self._server.socket.close()


class _Server(ThreadingHTTPServer):
    """Holds what the connections share; `die` is called when `exit_after` is reached."""

    daemon_threads = False  # so that closing the server waits for its answers
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], behaviour: Behaviour, die: Callable[[], None]
    ) -> None:
        self.behaviour, self.die = behaviour, die
        self.slots = threading.BoundedSemaphore(behaviour.slots)
        self.num_requests = self.num_connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def count_request(self) -> int:
        with self._lock:
            self.num_requests += 1
            return self.num_requests

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.num_connections += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Close, idle connections too."""
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that went away is no news, all else was answered."""


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_TIMEOUT_S
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer a picture, or commit the fault whose turn it is."""
        server = cast(_Server, self.server)
        behaviour = server.behaviour
        body = self._read_body()
        if body is None:
            return
        number = server.count_request()
        if behaviour.exit_after and number > behaviour.exit_after:
            self.close_connection = True
            server.die()
        elif _is_turn(number, behaviour.fail_every):
            self._send_page(HTTPStatus.SERVICE_UNAVAILABLE)
        elif _is_turn(number, behaviour.garbage_every):
            self._send(HTTPStatus.OK, json.dumps({behaviour.key: [{"bbox": 1}]}))
        else:
            with server.slots:
                start = time.monotonic()
                status, text = _answer(body, behaviour)
                time.sleep(max(0.0, start + behaviour.service_ms / 1000 - time.monotonic()))
            self._send(status, text)

    def do_GET(self) -> None:
        """Refuse: there is nothing to read here."""
        self._send_page(HTTPStatus.METHOD_NOT_ALLOWED)

    def log_message(self, *_: Any) -> None:
        """Log nothing: thousands of lines would hide the one that matters."""

    def _read_body(self) -> bytes | None:
        """Read the body; None when that failed and was answered."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            self.close_connection = True
            self._send_page(HTTPStatus.LENGTH_REQUIRED)
            return None
        if int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._send_page(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(int(length))

    def _send_page(self, status: HTTPStatus) -> None:
        self._send(status, _page(status))

    def _send(self, status: HTTPStatus, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _is_turn(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


def _page(status: HTTPStatus) -> str:
    return ERROR_PAGE.format(code=status.value, name=status.phrase)


def _answer(body: bytes, behaviour: Behaviour) -> tuple[HTTPStatus, str]:
    """Read a request and write the faces of its picture."""
    try:
        image = base64.b64decode(json.loads(json.loads(body))[IMAGE_KEY][BYTES], validate=True)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error):
        return HTTPStatus.BAD_REQUEST, _page(HTTPStatus.BAD_REQUEST)
    try:
        with Image.open(BytesIO(image)) as picture:
            found = find_faces(picture) if picture.mode == "RGB" else None
    except UNREADABLE:
        return HTTPStatus.INTERNAL_SERVER_ERROR, _page(HTTPStatus.INTERNAL_SERVER_ERROR)
    faces = None if found is None else [_arrays(face) for face in found]
    return HTTPStatus.OK, encode_faces(faces, behaviour.key, behaviour.model_name or None)


def _arrays(face: FoundFace) -> FaceArrays:
    return {
        "bbox": face.bbox,
        "det_score": np.float64(face.det_score),
        "landmark": face.landmark,
        "normed_embedding": face.embedding,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    for entry in fields(Behaviour):
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            type=type(entry.default),
            default=entry.default,
            help=f"{entry.metadata['help']} (default: {entry.default!r})",
        )
    parser.set_defaults(model_name=SYNTHETIC_MODEL)
    options = vars(parser.parse_args(arguments))
    host, port = options.pop("host"), options.pop("port")
    try:
        server = _Server((host, port), Behaviour(**options), lambda: os._exit(1))
    except (OSError, ValueError, OverflowError) as error:
        parser.error(f"{host}:{port}: {error}")
    with server, contextlib.suppress(KeyboardInterrupt):
        url = f"http://{host}:{server.server_port}/"
        print(f"stand-in face server (synthetic pictures only) on {url}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
