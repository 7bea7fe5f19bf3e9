"""Serve: python -m face_server --port 10002 --pack buffalo_l."""

import argparse
import logging
import signal
import socket
import sys
import warnings
from collections.abc import Sequence

from PIL.Image import DecompressionBombWarning
from waitress import create_server

from face_server.analysis import load_pack, model_name
from face_server.app import create_app
from faces.wire_request import MAX_BODY_BYTES
from utils.addresses import url_of
from utils.cli import run
from utils.errors import UserError
from utils.paths import user_text

MAX_PORT = 65_535
NUM_THREADS = 32
"""More than a client has requests in flight, so that GET /health is not kept waiting by pictures;
all but two of them sleep."""

IDLE_TIMEOUT_S = 30


def port(text: str) -> int:
    """Read a port; the system would take 75538 for 10002."""
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; expected 0 to {MAX_PORT}")
    return int(text)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m face_server",
        description="Serve detection and ArcFace embeddings with insightface, on the CPU.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for all")
    parser.add_argument("--port", type=port, default=10002, help="0 takes a free one")
    parser.add_argument(
        "--pack",
        default="buffalo_l",
        help="model pack: a folder of .onnx files, or a name that insightface downloads once",
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the pack, and serve until SIGTERM or Ctrl-C; what is in flight is finished.

    Raises:
        UserError: the pack cannot be loaded, or the address cannot be listened on.
    """
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    warnings.filterwarnings("ignore", category=FutureWarning, module="insightface")
    warnings.filterwarnings("error", category=DecompressionBombWarning)  # becomes null
    pack = user_text(options.pack, "--pack")
    model = model_name(pack)
    app = create_app(load_pack(pack), model)
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a queue is no news here
    with _listener(options.host, options.port) as listener:
        server = create_server(
            app,
            sockets=[listener],
            threads=NUM_THREADS,
            max_request_body_size=MAX_BODY_BYTES,
            inbuf_overflow=MAX_BODY_BYTES + 1,  # in memory: no face touches a disk
            channel_timeout=IDLE_TIMEOUT_S,
            ident=None,
        )
        url = url_of(options.host, server.effective_port)
        print(f"face server with the model pack {model} on {url}", flush=True)
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
