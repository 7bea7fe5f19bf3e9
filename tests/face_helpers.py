"""What the tests of extraction share: tiny data sets, waits of milliseconds, made-up servers."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import savemat

from extraction.options import ExtractionOptions
from faces.client import Face, FaceAnswer, FaceServer
from sample.grid_faces import GRID_SIZE, GridFace, draw_picture, encode_picture, unit

QUICK: dict[str, Any] = {
    "retry_waits_s": (0.001, 0.002, 0.004),
    "probe_waits_s": (0, 0.002, 0.01),
    "give_up_s": 0.5,
    "timeout_s": 10,
    "start_timeout_s": 5,
    "start_poll_s": 0.01,
    "workers": 1,
}
SIZE = (GRID_SIZE[0] + 16, GRID_SIZE[1] + 32)

PATIENCE_S = 60
"""What a test waits for at most, on a slow machine; it never waits so long for nothing."""


def vector(seed: int) -> NDArray[np.float32]:
    return unit(np.random.default_rng(seed).standard_normal(512))


def face(seed: int, score: float = 0.9) -> Face:
    return Face(np.arange(4.0), score, np.arange(10.0).reshape(5, 2), vector(seed))


def picture_file(seed: int) -> bytes:
    grid = GridFace(vector(seed), 0.9, (8, 8))
    return encode_picture(draw_picture([grid], SIZE, (30, 40, 50)))


def write_images(folder: Path, num_images: int) -> list[str]:
    """Write images with a face each, in two folders, and give their paths."""
    paths = [f"{number % 2:02}/{number}.jpg" for number in range(num_images)]
    for number, path in enumerate(paths):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(picture_file(number))
    return paths


def options(*addresses: int | str, **changes: Any) -> ExtractionOptions:
    """Make options with waits of milliseconds, and files sent as they are, if not changed."""
    return ExtractionOptions(docker_port=list(addresses), **{"resize": None, **QUICK, **changes})


def stored(path: Path) -> Any:
    """Read an answer as anybody would."""
    return pickle.loads(path.read_bytes())


@contextmanager
def answering(
    monkeypatch: Any, answer: Callable[[FaceServer, bytes], FaceAnswer]
) -> Iterator[list[str]]:
    """Let servers answer by a function, without a network; gives the URLs asked, as it grows."""
    asked: list[str] = []

    def ask_body(server: FaceServer, body: bytes) -> FaceAnswer:
        asked.append(server.url)
        return answer(server, body)

    with monkeypatch.context() as patch:
        patch.setattr(FaceServer, "ask_body", ask_body)
        yield asked


def seeds_of(dataset_dir: Path, paths: Sequence[str], suffix: str) -> list[int]:
    """Return which image's face each answer holds."""
    known = np.stack([vector(seed) for seed in range(len(paths))])
    embeddings = [stored(dataset_dir / f"{path}{suffix}")[0]["normed_embedding"] for path in paths]
    return [int(np.argmax(known @ embedding)) for embedding in embeddings]


def write_wiki(folder: Path, num_images: int) -> None:
    """Write images and the wiki.mat that names them."""
    paths = write_images(folder, num_images)
    cells = np.empty(num_images, object)
    cells[:] = paths
    fields = {
        "dob": np.full(num_images, 720_000.0),
        "photo_taken": np.full(num_images, 2005.0),
        "full_path": cells,
        "gender": np.ones(num_images),
        "name": cells,
    }
    savemat(folder / "wiki.mat", {"wiki": fields})
