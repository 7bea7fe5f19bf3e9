"""Makes the inputs of networks from pictures: a plane for each colour, red first."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from face_networks.decoding import Pixels

Floats = npt.NDArray[np.float32]


def levels(mean: float, scale: float) -> Floats:
    """Return what becomes of the levels 0 to 255: (level - mean) * scale, (256,).

    >>> levels(127.5, 1 / 127.5)[[0, 255]].tolist()
    [-1.0, 1.0]
    """
    return ((np.arange(256) - mean) * scale).astype(np.float32)


def blob(pictures: Sequence[Pixels], table: Floats) -> Floats:
    """Make an input of pictures of one size, with every level looked up in a table.

    Args:
        pictures: N, each uint8 (H, W, 3), red first.
        table: of `levels`.

    Returns:
        float32 (N, 3, H, W).
    """
    import cv2

    made = np.empty((len(pictures), 3, *pictures[0].shape[:2]), np.float32)
    for planes, picture in zip(made, pictures, strict=True):
        for plane, colour in zip(planes, cv2.split(picture), strict=True):
            cv2.LUT(colour, table, dst=plane)
    return made
