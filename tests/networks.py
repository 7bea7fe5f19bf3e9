"""Embeddings of made-up face networks, for the tests of telling networks apart."""

from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_faces, save_faces
from numpy.typing import NDArray

from data_loader.data_sets import data_path

Embeddings = NDArray[np.float32]
DEVIATIONS = np.geomspace(0.2, 0.005, 512)
"""Of a network's embeddings along its own directions: as uneven as those of a real one."""


def directions_of(network: int) -> NDArray[np.float64]:
    """Return the directions (512, 512), as rows, that a network uses most to least."""
    normal = np.random.default_rng(network).standard_normal((512, 512))
    return np.linalg.qr(normal)[0]


def embed(network: int, num_faces: int, seed: int = 0) -> Embeddings:
    """Embed faces, other ones for every seed, with a network of that number."""
    directions = directions_of(network)
    faces = np.random.default_rng([seed, 1]).standard_normal((num_faces, 512)) * DEVIATIONS
    vectors = faces @ directions + 0.2 * directions[0]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(unit, np.float32)


def write_faces(data_dir: Path, source: str, embeddings: Embeddings) -> None:
    """Write a data file of imdb or wiki whose faces have these embeddings."""
    faces: NDArray[Any] = make_faces(len(embeddings), len(embeddings), 0, is_adience=False)
    faces["embedding"] = embeddings
    save_faces(faces, data_path(data_dir, source))
