"""A stand-in for the face server, without a network: it reads the pictures of the synthetic sample.

    python -m sample.stand_in_server --port 10002

Answers on the wire exactly as the container does, so that extraction and the demo can be tried
without it; tests make it slow or unreliable on purpose. Finds no face in real photos.
"""

import argparse
import contextlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from faces.errors import ImageError
from faces.pictures import Limits, opened
from faces.wire import ANSWER_KEY, encode_faces
from faces.wire_request import MAX_BODY_BYTES, RequestBodyError, decode_request
from sample.grid_faces import find_faces

DEFAULT_PORT = 10002
SYNTHETIC_MODEL = "synthetic stand-in"
"""What the program calls its network, so that nothing takes its vectors for real ones."""

POLL_S = 0.02
LIMITS = Limits(side=8192)


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the server behaves; 0 switches a fault off.

    Attributes:
        service_ms: milliseconds that a picture takes, at least.
        slots: pictures that are worked on at once; the others wait.
        fail_every: answer every Nth request with HTTP 503.
        garbage_every: answer every Nth request with JSON that is not a face.
        exit_after: stop without an answer after N requests, as a program that died.
        key: of the faces; old containers answer `faces.wire.OLD_ANSWER_KEY`.
        model_name: name of the network, to write into the answers.
    """

    service_ms: float = 0.0
    slots: int = 4
    fail_every: int = 0
    garbage_every: int = 0
    exit_after: int = 0
    key: str = ANSWER_KEY
    model_name: str | None = None


class StandInServer(ThreadingHTTPServer):
    """The server, running in a thread while the `with` block lasts.

    Attributes:
        num_requests: pictures sent so far, answered or not.
        num_connections: connections opened so far.

    >>> with StandInServer() as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    daemon_threads = False  # so that closing the server waits for its answers
    request_queue_size = 128

    def __init__(
        self, port: int = 0, host: str = "127.0.0.1", behaviour: Behaviour | None = None
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self.slots = threading.BoundedSemaphore(self.behaviour.slots)
        self.num_requests = self.num_connections = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_S,), daemon=True)
        super().__init__((host, port), _PictureHandler)

    @property
    def url(self) -> str:
        """The address to send pictures to; port 0 has become a free port."""
        return f"http://{self.server_address[0]!s}:{self.server_port}/"

    def __enter__(self) -> "StandInServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def count_request(self) -> int:
        """Count a picture, and return how many there were."""
        with self._lock:
            self.num_requests += 1
            return self.num_requests

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count a connection, and serve it."""
        with self._lock:
            self.num_connections += 1
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
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


class _PictureHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: StandInServer
    protocol_version = "HTTP/1.1"
    timeout = 60
    wbufsize = -1  # headers and body leave together
    disable_nagle_algorithm = True
    error_content_type = "text/html; charset=utf-8"
    error_message_format = "<!doctype html>\n<title>%(code)d</title>\n<h1>%(message)s</h1>\n"

    def do_POST(self) -> None:
        """Answer a picture, or commit the fault whose turn it is."""
        behaviour = self.server.behaviour
        length = int(self.headers.get("Content-Length", "0"))
        if length > MAX_BODY_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        body, number = self.rfile.read(length), self.server.count_request()
        if behaviour.exit_after and number > behaviour.exit_after:
            self.close_connection = True
            self.server.shutdown()
            self.server.socket.close()
        elif _is_turn(number, behaviour.fail_every):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE)
        elif _is_turn(number, behaviour.garbage_every):
            self._send(json.dumps({behaviour.key: [{"bbox": 1}]}))
        else:
            with self.server.slots:
                start = time.monotonic()
                answer = _answer(body, behaviour)
                time.sleep(max(0.0, start + behaviour.service_ms / 1000 - time.monotonic()))
            if isinstance(answer, HTTPStatus):
                self.send_error(answer)
            else:
                self._send(answer)

    def log_message(self, *_: Any) -> None:
        """Log nothing: thousands of lines would hide the one that matters."""

    def _send(self, text: str) -> None:
        content = text.encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _is_turn(number: int, every: int) -> bool:
    return every > 0 and number % every == 0


def _answer(body: bytes, behaviour: Behaviour) -> str | HTTPStatus:
    """Write the faces of the picture that a request holds, or return the error of it."""
    try:
        with opened(decode_request(body), LIMITS) as picture:
            is_colour = picture.stored.mode == "RGB"
            faces = find_faces(picture.stored) if is_colour else None
    except RequestBodyError:
        return HTTPStatus.BAD_REQUEST
    except ImageError:
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return encode_faces(faces, behaviour.key, behaviour.model_name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="0 takes a free one")
    options = parser.parse_args(arguments)
    try:
        server = StandInServer(options.port, options.host, Behaviour(model_name=SYNTHETIC_MODEL))
    except (OSError, OverflowError) as error:
        parser.error(f"{options.host}:{options.port}: {error}")
    print(f"stand-in face server (synthetic pictures only) on {server.url}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    server.server_close()


if __name__ == "__main__":
    main()
