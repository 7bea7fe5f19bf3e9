"""Embeds faces by an ArcFace network (arXiv 1801.07698): 512 numbers of unit length each."""

import numpy as np
import numpy.typing as npt

from face_networks.alignment import crops
from face_networks.blobs import Floats, blob
from face_networks.decoding import Pixels
from face_networks.runs import Network


class Embedder:
    """Embeds faces; threads may use it at once.

    Args:
        network: takes (N, 3, side, side), red first, and returns (N, D) alone.
        side: of what the network sees, in pixels.
        table: what the network sees of the levels 0 to 255.
        batch: faces that the network takes at once.
    """

    def __init__(self, network: Network, side: int, table: Floats, batch: int = 1):
        self.network, self._side, self.batch = network, side, batch
        self._levels = table

    def embed(self, pixels: Pixels, landmarks: npt.NDArray[np.float32]) -> Floats:
        """Embed faces of a picture.

        Args:
            pixels: uint8 (H, W, 3), red first.
            landmarks: (N, 5, 2), x y in pixels; N at least 1.

        Returns:
            float32 (N, D), of unit length.

        Raises:
            ValueError: the network gave vectors that have no direction.
        """
        faces = crops(pixels, landmarks, self._side)
        batches = [faces[i : i + self.batch] for i in range(0, len(faces), self.batch)]
        vectors = np.concatenate([self.network(blob(batch, self._levels))[0] for batch in batches])
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(lengths) & (lengths > 0)).all():
            raise ValueError("vectors of zeros, or of what is no number")
        return np.asarray(vectors / lengths, np.float32)
