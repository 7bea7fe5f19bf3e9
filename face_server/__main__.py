"""Serve: python -m face_server --port 10002 --pack buffalo_l --device auto."""

import argparse
import logging
import signal
import socket
import sys
from collections.abc import Sequence

from waitress import create_server

from face_networks.analyzer import FaceAnalyzer
from face_networks.runs import DEVICES
from face_server.app import create_app
from face_server.connection import Connection
from faces.errors import silence_decoders
from faces.wire_request import MAX_BODY_BYTES
from utils.addresses import url_of
from utils.cli import run
from utils.errors import UserError
from utils.paths import user_text
from utils.runtime import share_heaps

MAX_PORT = 65_535
MAX_COUNT = 1024
NUM_THREADS = 32
"""More than a client has requests in flight, so that GET /health is not kept waiting by pictures;
all but two of them sleep."""

IDLE_TIMEOUT_S = 30
MAX_CONNECTIONS = 256
RECEIVED_BYTES = 2**18
"""Read at a time: a picture as clients send it comes in one piece."""


def port(text: str) -> int:
    """Read a port; the system would take 75538 for 10002."""
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to {MAX_PORT}")
    return int(text)


def count(text: str) -> int:
    """Read a number of workers or threads."""
    if not text.isdecimal() or not 0 < int(text) <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text!r}, expected 1 to {MAX_COUNT}")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m face_server", description="Serve face detection and ArcFace embeddings."
    )
    parser.set_defaults(host="127.0.0.1", port=10002, pack="buffalo_l", device="auto", threads=1)
    add, default = parser.add_argument, "(default: %(default)s)"
    add("--host", help=f"address to listen on; 0.0.0.0 for all {default}")
    add("--port", type=port, help=f"0 takes a free one {default}")
    add("--pack", help=f"model pack: a folder, or a name, which is downloaded once {default}")
    add("--device", choices=DEVICES, help=f"auto: the GPU, if one can be used {default}")
    add("--workers", type=count, help="pictures at once (default: one a CPU core; 32 on a GPU)")
    add("--threads", type=count, help=f"of each network on the CPU, for each worker {default}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the pack, and serve until SIGTERM or Ctrl-C; what is in flight is finished.

    Raises:
        UserError: the pack cannot be loaded, or the address cannot be listened on.
    """
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    silence_decoders()
    share_heaps()
    pack = user_text(options.pack, "--pack")
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no news here
    with (
        FaceAnalyzer(pack, options.device, options.workers, options.threads) as analyzer,
        _listener(options.host, options.port) as listener,
    ):
        server = create_server(
            create_app(analyzer),
            sockets=[listener],
            threads=NUM_THREADS,
            recv_bytes=RECEIVED_BYTES,
            max_request_body_size=MAX_BODY_BYTES,
            inbuf_overflow=MAX_BODY_BYTES + 1,  # in memory: no face touches a disk
            channel_timeout=IDLE_TIMEOUT_S,
            cleanup_interval=1,
            connection_limit=MAX_CONNECTIONS,
            asyncore_use_poll=True,
            ident=None,
        )
        server.channel_class = Connection
        url = url_of(options.host, server.effective_port)
        print(f"face server with the model pack {analyzer.model} on {url}", flush=True)
        server.run()


def _listener(host: str, port: int) -> socket.socket:
    """Take the port, in a way that leaves nothing open when that fails."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port}: {error.strerror}") from None


if __name__ == "__main__":
    run(main)
