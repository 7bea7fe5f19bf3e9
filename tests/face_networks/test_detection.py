import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from face_networks.detection import (
    MAX_OVERLAP,
    Detections,
    Detector,
    decoded,
    largest_near_middle,
    without_overlap,
)

Boxes = NDArray[np.float32]


def overlap(one: list[int], other: list[int]) -> float:
    """Count pixels: the area that two boxes share over that of both, the last pixel included."""
    left, up = max(one[0], other[0]), max(one[1], other[1])
    right, down = min(one[2], other[2]), min(one[3], other[3])
    shared = max(0, right - left + 1) * max(0, down - up + 1)
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (one, other)]
    return shared / (sum(areas) - shared)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 30))
def test_a_box_stays_when_it_overlaps_none_that_stayed_before(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (count, 2))
    boxes = np.hstack((corners, corners + rng.integers(1, 40, (count, 2))))
    expected: list[int] = []
    for index, box in enumerate(boxes.tolist()):
        if all(overlap(box, boxes[before].tolist()) <= MAX_OVERLAP for before in expected):
            expected.append(index)
    assert without_overlap(boxes.astype(np.float32)).tolist() == expected


def test_outputs_are_read_row_by_row_with_the_anchors_of_a_place_together() -> None:
    scores = np.zeros((2 * 3 * 2, 1), np.float32)  # two rows of three places, two anchors
    sides, points = np.zeros((12, 4), np.float32), np.zeros((12, 10), np.float32)
    scores[[3, 10]] = [[0.5], [0.9]]
    sides[3], points[10] = (1, 2, 3, 4), np.arange(10)
    found = decoded((scores, sides, points), 8, 2, (16, 24))
    np.testing.assert_allclose(found.scores, [0.5, 0.9])
    np.testing.assert_allclose(found.boxes, [(8 - 8, 0 - 16, 8 + 24, 0 + 32), (16, 8, 16, 8)])
    expected = np.arange(10).reshape(5, 2) * 8 + (16, 8)
    np.testing.assert_allclose(found.landmarks, [np.tile([8, 0], (5, 1)), expected])


def test_another_number_of_anchors_is_refused() -> None:
    outputs = [np.zeros((11, width), np.float32) for width in (1, 4, 10)]
    with pytest.raises(ValueError, match="11 anchors of stride 8"):
        decoded(outputs, 8, 2, (16, 24))


def made(boxes: Boxes) -> Detections:
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Detections(boxes, scores, np.zeros((len(boxes), 5, 2), np.float32))


def test_of_too_many_faces_the_large_ones_near_the_middle_stay() -> None:
    boxes = np.array(
        [(0, 0, 20, 20), (300, 300, 340, 340), (310, 310, 330, 330), (0, 0, 10, 10)], np.float32
    )
    kept = largest_near_middle(made(boxes), 640, most=2)
    np.testing.assert_array_equal(kept.boxes, boxes[[1, 2]])
    assert largest_near_middle(made(boxes), 640, most=4).boxes is not boxes[:2]
    np.testing.assert_array_equal(largest_near_middle(made(boxes), 640, most=4).boxes, boxes)


class Recorded:
    """A network of 9 outputs that finds nothing but what it is told to."""

    def __init__(self, height: int, width: int):
        self.seen: list[Boxes] = []
        self.outputs = [
            np.zeros((1, height // stride * (width // stride) * 2, length), np.float32)
            for length in (1, 4, 10)
            for stride in (8, 16, 32)
        ]

    def __call__(self, inputs: Boxes) -> list[Boxes]:
        self.seen.append(inputs)
        return self.outputs


PIXELS = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)


def test_the_network_sees_red_first_around_zero() -> None:
    network = Recorded(640, 640)
    assert len(Detector(network, 640, 640).find(PIXELS)) == 0
    expected = (PIXELS.transpose(2, 0, 1)[None] - np.float32(127.5)) / 128
    np.testing.assert_allclose(network.seen[0], expected, atol=1e-6)


def test_the_surest_face_comes_first_and_equals_by_their_order() -> None:
    network = Recorded(640, 640)
    for index, score in ((0, 0.6), (40, 0.8), (80, 0.6)):
        network.outputs[0][0, index] = score
        network.outputs[3][0, index] = 1
    found = Detector(network, 640, 640).find(PIXELS)
    np.testing.assert_allclose(found.scores, [0.8, 0.6, 0.6])
    np.testing.assert_allclose(found.boxes[:, 0], [20 * 8 - 8, -8, 40 * 8 - 8])


@pytest.mark.parametrize(("height", "width"), [(320, 320), (320, 480), (480, 320)])
def test_a_network_of_another_size_sees_the_square_smaller(height: int, width: int) -> None:
    network = Recorded(height, width)
    columns = width // 32
    network.outputs[2][0, (3 * columns + 4) * 2] = 0.9  # row 3, column 4 of the coarsest
    network.outputs[5][0] = 1
    found = Detector(network, height, width).find(PIXELS)
    np.testing.assert_allclose(found.boxes, [np.multiply((3, 2, 5, 4), 64)])
    (seen,) = network.seen
    assert seen.shape == (1, 3, height, width)
    assert (seen[:, :, 320:] == -127.5 / 128).all()
    assert (seen[:, :, :, 320:] == -127.5 / 128).all()
