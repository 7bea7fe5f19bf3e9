"""What the tests of client and page share: photos with faces, and the server running."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from face_helpers import vector
from PIL import Image
from werkzeug.serving import make_server

from app import create_app
from model.model import ResMLP
from sample.grid_faces import GRID_SIZE, GridFace, draw_picture, encode_picture
from utils.checkpoint import save_checkpoint

ARCH: dict[str, Any] = {
    "dropout": 0.2,
    "num_residuals_per_block": 0,
    "num_blocks": 1,
    "num_initial_features": 512,
}
NOWHERE = "http://127.0.0.1:9/"
"""An address where nothing listens."""

TINT = (30, 40, 50)
GAP = 24


def photo(num_faces: int) -> Image.Image:
    """Draw faces side by side; that of number n has the vector of seed n."""
    step = GRID_SIZE[0] + GAP
    grids = [GridFace(vector(n), 0.9, (GAP + n * step, GAP)) for n in range(num_faces)]
    return draw_picture(grids, (GAP + max(1, num_faces) * step, GRID_SIZE[1] + 3 * GAP), TINT)


def save_photo(path: Path, num_faces: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_picture(photo(num_faces)))
    return path


def place_of(number: int) -> tuple[int, int, int, int]:
    """Return the box of a face of `photo`."""
    left = GAP + number * (GRID_SIZE[0] + GAP)
    return left, GAP, left + GRID_SIZE[0], GAP + GRID_SIZE[1]


def save_models(folder: Path) -> dict[str, Any]:
    """Write two networks that nobody trained, and give the settings that serve them."""
    paths = {}
    for name, num_classes in (("age", 101), ("gender", 2)):
        torch.manual_seed(num_classes)
        arguments = {**ARCH, "num_classes": num_classes, "add_residual": True, "add_IC": True}
        content = {
            "config": {"arch": {"type": "ResMLP", "args": arguments}},
            "state_dict": ResMLP(**arguments).state_dict(),
        }
        paths[f"{name}_model"] = folder / f"{name}.pth"
        save_checkpoint(content, paths[f"{name}_model"])
    return {**paths, "device": "cpu", "threads": 1}


@contextmanager
def running(application: Any, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve a WSGI application on a free port, and give its URL."""
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=tls)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http{'s' * (tls is not None)}://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running_app(
    settings: dict[str, Any], face_server_url: str | None = None, **changes: Any
) -> Iterator[str]:
    """Serve our application with the models of `save_models`, and give its URL."""
    asked = {} if face_server_url is None else {"face_server_url": face_server_url}
    with (
        closing(create_app({**settings, **asked, **changes})) as application,
        running(application) as url,
    ):
        yield url


def noise(size: tuple[int, int], seed: int = 0) -> Image.Image:
    levels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(levels)
