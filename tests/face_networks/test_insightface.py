"""Our faces beside those of insightface's FaceAnalysis, on real photos and a real model pack."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import ROOT
from numpy.typing import NDArray
from PIL import Image
from with_insightface import PACK, PYTHON, RAW, lack_of_insightface

from face_networks.decoding import SIDE, read_square
from face_networks.loading import FaceNetworks, load_networks
from faces.errors import ImageError

EVERY = 5
"""Photos from one that is taken to the next."""

TILES = (2, 3, 4)
"""Photos on a side of the squares that show several."""


def squares() -> Iterator[NDArray[np.uint8]]:
    """Yield photos of all data sets as the networks see them, and squares of several of them."""
    alone = []
    for path in sorted(RAW.rglob("*.jpg"))[::EVERY]:
        try:
            alone.append(read_square(path.read_bytes())[0])
        except ImageError:
            continue
    yield from alone
    for count in TILES:
        side = SIDE // count
        for start in range(0, len(alone) - count**2, 2 * count**2):
            square = Image.new("RGB", (SIDE, SIDE))
            for number, pixels in enumerate(alone[start : start + count**2]):
                row, column = divmod(number, count)
                small = Image.fromarray(pixels).resize((side, side))
                square.paste(small, (column * side, row * side))
            yield np.asarray(square)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[NDArray[np.uint8], dict[str, Any]]:
    """Return squares, and the faces that insightface finds on them."""
    if reason := lack_of_insightface():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("insightface")
    pictures = np.array(list(squares()))
    np.save(folder / "squares.npy", pictures)
    script = ROOT / "tests" / "insightface_faces.py"
    paths = (PACK, folder / "squares.npy", folder / "faces.npz")
    subprocess.run([PYTHON, "-W", "ignore", script, *paths], check=True)  # noqa: S603
    with np.load(folder / "faces.npz") as faces:
        return pictures, dict(faces)


@pytest.fixture(scope="module")
def networks(seen: object) -> FaceNetworks:
    return load_networks(Path(PACK), "cpu", 1)


def test_the_same_faces_are_found_in_the_same_order_with_the_same_embeddings(
    seen: tuple[NDArray[np.uint8], dict[str, Any]], networks: FaceNetworks
) -> None:
    pictures, expected = seen
    num_faces = np.bincount(expected["number"], minlength=len(pictures))
    assert len(pictures) > 100
    assert (num_faces > 3).sum() > 5
    for number, pixels in enumerate(pictures):
        found = networks.detector.find(pixels)
        here = expected["number"] == number
        assert len(found) == num_faces[number]
        np.testing.assert_allclose(found.boxes, expected["bbox"][here], atol=0.1)
        np.testing.assert_allclose(found.landmarks, expected["landmark"][here], atol=0.1)
        np.testing.assert_allclose(found.scores, expected["det_score"][here], atol=1e-4)
        if len(found):
            vectors = networks.embedder.embed(pixels, found.landmarks)
            assert ((vectors * expected["embedding"][here]).sum(1) >= 0.99999).all()
