"""Turns faces upright: crops of five landmarks at fixed places, which ArcFace networks expect."""

import numpy as np
import numpy.typing as npt

from face_networks.decoding import Pixels

TEMPLATE_SIDE = 112
TEMPLATE = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ]
)
"""Where eyes, nose and corners of the mouth lie in a crop of 112 x 112 pixels.

Source: ArcFace (arXiv 1801.07698), which takes them from SphereFace (arXiv 1704.08063)."""

_WIDER_SIDE, _WIDER_MARGIN = 128, 8.0
"""Crops of multiples of 128 pixels show the same face with a margin left and right."""


def template(side: int) -> npt.NDArray[np.float64]:
    """Return where the five landmarks belong in a crop, (5, 2) in pixels.

    >>> template(224)[0].tolist()
    [76.5892, 103.3926]
    """
    if side % TEMPLATE_SIDE == 0:
        return TEMPLATE * (side / TEMPLATE_SIDE)
    wider = TEMPLATE + np.array((_WIDER_MARGIN, 0.0))
    return np.asarray(wider * (side / _WIDER_SIDE), np.float64)


def similarities(
    landmarks: npt.ArrayLike, target: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Fit the rotation, scale and shift that bring landmarks nearest to a target (least squares).

    As complex numbers, points are mapped by z -> a z + b, whose best a and b have a closed form.
    Landmarks that are all one point get a scale of 0.

    Args:
        landmarks: (N, P, 2), x y.
        target: (P, 2).

    Returns:
        Matrices (N, 2, 3), as OpenCV's warpAffine takes them.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
        patterns, IEEE TPAMI 13(4), 1991.

    >>> similarities([[(0, 0), (1, 0)]], np.array([(5.0, 5.0), (5.0, 7.0)])).round(6).tolist()
    [[[0.0, -2.0, 5.0], [2.0, 0.0, 5.0]]]
    """
    points = np.asarray(landmarks, np.float64) @ (1, 1j)
    goal = target @ (1, 1j)
    centred, centred_goal = points - points.mean(1, keepdims=True), goal - goal.mean()
    spread = (np.abs(centred) ** 2).sum(1)
    turn = (centred.conj() * centred_goal).sum(1) / np.where(spread > 0, spread, 1)
    shift = goal.mean() - turn * points.mean(1)
    rows = [[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]]
    return np.moveaxis(np.array(rows), 2, 0)


def crops(pixels: Pixels, landmarks: npt.ArrayLike, side: int) -> list[Pixels]:
    """Cut faces out of a picture, upright, black beyond its edge: each uint8 (side, side, 3)."""
    import cv2

    matrices = similarities(landmarks, template(side))
    return [np.asarray(cv2.warpAffine(pixels, m, (side, side)), np.uint8) for m in matrices]
