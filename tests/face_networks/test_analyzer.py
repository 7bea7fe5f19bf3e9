"""Pictures on their way through real networks, which are tiny."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from model_packs import BOX, CELL, LANDMARKS, as_file, picture, write_pack

from face_networks.analyzer import FaceAnalyzer


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("packs") / "white_cells")


@pytest.fixture(scope="module")
def analyzer(pack: Path) -> Iterator[FaceAnalyzer]:
    with FaceAnalyzer(str(pack), "cpu", workers=2) as opened:
        yield opened


def test_the_faces_of_a_picture_are_found_where_they_are(analyzer: FaceAnalyzer) -> None:
    answer = analyzer.ask(as_file(picture((4, 5), (12, 9))))
    assert answer.model == "white_cells"
    assert answer.faces is not None
    assert len(answer.faces) == 2
    left, up, right, down = BOX
    corners = sorted((face.bbox.tolist(), face.landmark.tolist()) for face in answer.faces)
    for (box, landmarks), (column, row) in zip(corners, [(4, 5), (12, 9)], strict=True):
        expected = (column - left, row - up, column + right, row + down)
        np.testing.assert_allclose(box, np.multiply(expected, CELL), atol=1e-3)
        np.testing.assert_allclose(
            landmarks, (LANDMARKS + np.array((column, row))) * CELL, atol=1e-3
        )
    assert all(abs(np.linalg.norm(face.embedding) - 1) < 1e-5 for face in answer.faces)


def test_a_picture_that_cannot_be_used_has_no_list_of_faces(analyzer: FaceAnalyzer) -> None:
    assert analyzer.ask(b"no picture").faces is None
    assert analyzer.ask(as_file(picture())).faces == []
