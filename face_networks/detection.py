"""Finds faces by an SCRFD network (arXiv 2105.04714): boxes, scores and five landmarks each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from face_networks.blobs import Floats, blob, levels
from face_networks.decoding import Pixels
from face_networks.runs import Network

MIN_SCORE = 0.5
MAX_OVERLAP = 0.4
MAX_FACES = 512
"""Most faces that are answered, of more the largest ones near the middle: each costs a pass of the
ArcFace network, and clients read answers of up to 4 MiB."""

LEVELS = levels(127.5, 1 / 128)
LAYOUTS = {9: ((8, 16, 32), 2), 15: ((8, 16, 32, 64, 128), 1)}
"""By the number of outputs (scores, boxes and landmarks of each stride): the strides in pixels, and
the anchors at a place."""

WIDTHS = (1, 4, 10)
"""Numbers for an anchor: score, distances to the four sides, and to five landmarks."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces found in one picture, in its pixels.

    Attributes:
        boxes: float32 (N, 4), x1 y1 x2 y2.
        scores: float32 (N,).
        landmarks: float32 (N, 5, 2), x y.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, index: npt.NDArray[np.intp]) -> Self:
        """Take some of the faces, in the order of the index."""
        return type(self)(self.boxes[index], self.scores[index], self.landmarks[index])


class Detector:
    """Finds faces; threads may use it at once.

    Args:
        network: takes (1, 3, height, width) and has one of the `LAYOUTS`.
        height: of what the network sees, in pixels.
        width: of it.
    """

    def __init__(self, network: Network, height: int, width: int):
        self.network, self._size = network, (height, width)

    def find(self, pixels: Pixels) -> Detections:
        """Find the faces of a square, red first, the surest first.

        Raises:
            ValueError: the network has other outputs than such a detector.
        """
        inputs, scale = self._inputs(pixels)
        outputs = self.network(inputs)
        strides, num_anchors = LAYOUTS[len(outputs)]
        parts = [
            decoded(outputs[level :: len(strides)], stride, num_anchors, self._size)
            for level, stride in enumerate(strides)
        ]
        found = Detections(
            np.divide(np.concatenate([part.boxes for part in parts]), scale),
            np.concatenate([part.scores for part in parts]),
            np.divide(np.concatenate([part.landmarks for part in parts]), scale),
        )
        found = found.at(np.argsort(-found.scores, kind="stable"))
        return largest_near_middle(found.at(without_overlap(found.boxes)), len(pixels))

    def _inputs(self, pixels: Pixels) -> tuple[Floats, np.float32]:
        """Make the network's input, and return how many of its pixels one of the square takes."""
        import cv2

        side = min(self._size)
        seen = pixels
        if side != len(pixels):
            seen = np.asarray(cv2.resize(pixels, (side, side)), np.uint8)
        if self._size != (side, side):
            height, width = self._size
            seen = np.pad(seen, ((0, height - side), (0, width - side), (0, 0)))
        return blob([seen], LEVELS), np.float32(side / len(pixels))


def decoded(
    outputs: Sequence[Floats], stride: int, num_anchors: int, size: tuple[int, int]
) -> Detections:
    """Turn the outputs of one stride into the faces that are sure enough, by rows and anchors.

    Numbers that are none, or infinite, are no face.

    Args:
        outputs: scores (..., A, 1), distances from an anchor to the four sides (..., A, 4) and to
            five landmarks (..., A, 10), in strides.
        stride: pixels from one place to the next.
        num_anchors: at each place.
        size: height and width of what the network saw.

    Raises:
        ValueError: the network has another number of anchors.
    """
    columns = size[1] // stride
    parts = [output.reshape(-1, width) for output, width in zip(outputs, WIDTHS, strict=True)]
    for part in parts:
        if len(part) != size[0] // stride * columns * num_anchors:
            raise ValueError(f"{len(part)} anchors of stride {stride}")
    sure = np.flatnonzero(parts[0][:, 0] >= MIN_SCORE)
    sure = sure[np.isfinite(np.concatenate([part[sure] for part in parts], 1)).all(1)]
    rows, column = np.divmod(sure // num_anchors, columns)
    centres = np.stack((column, rows), 1).astype(np.float32) * stride
    scores, sides, points = (part[sure] for part in parts)
    sides, points = sides * stride, points.reshape(-1, 5, 2) * stride
    boxes = np.concatenate((centres - sides[:, :2], centres + sides[:, 2:]), 1)
    return Detections(boxes, scores[:, 0], centres[:, None] + points)


def without_overlap(boxes: Floats) -> npt.NDArray[np.intp]:
    """Choose boxes from the first on, leaving out those that overlap one by more than 0.4.

    The overlap is intersection over union, of boxes that hold their last pixel too.

    >>> without_overlap(np.array([(0, 0, 9, 9), (0, 0, 9, 8), (5, 5, 14, 14)], np.float32)).tolist()
    [0, 2]
    """
    lower, upper = boxes[:, :2], boxes[:, 2:]
    areas = (upper - lower + 1).prod(1)
    left = np.arange(len(boxes))
    chosen = []
    while left.size:
        first, rest = left[0], left[1:]
        chosen.append(first)
        low = np.maximum(lower[first], lower[rest])
        high = np.minimum(upper[first], upper[rest])
        shared = np.maximum(0, high - low + 1).prod(1)
        left = rest[shared / (areas[first] + areas[rest] - shared) <= MAX_OVERLAP]
    return np.array(chosen, np.intp)


def largest_near_middle(found: Detections, side: int, most: int = MAX_FACES) -> Detections:
    """Keep at most `most` faces of a square: those of large area and little squared distance."""
    if len(found) <= most:
        return found
    lower, upper = found.boxes[:, :2], found.boxes[:, 2:]
    away = (((lower + upper) / 2 - side // 2) ** 2).sum(1)
    return found.at(np.argsort((upper - lower).prod(1) - 2 * away)[::-1][:most])
