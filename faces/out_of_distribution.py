"""Tells embeddings of the network that a model was trained on from those of another network.

A face network leaves part of its embedding space little used, and each network another part. The
detector keeps the half of all directions in which training rows vary least, and measures how much
of an embedding lies in that half. Unlike the Mahalanobis distance this is not ruled by the few
smallest variances, which are badly known and grow most on photographs of another kind.
docs/data.md has the figures.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import CheckpointError
from utils.labels import EMBEDDING_SIZE
from utils.runtime import generator

METHOD = "squared length along the directions of least variance"
NUM_DIRECTIONS = EMBEDDING_SIZE // 2
"""With a quarter, other kinds of photographs are taken for foreign; more cost the server time."""

MIN_ROWS = 1000
"""Twice what the data measured took: with few, the directions fit the training rows alone."""
MAX_ROWS = 10_000
"""Rows looked at: more move the directions little, and cost time."""
MIN_VALIDATION_ROWS = 100

FOREIGN_SHARE = 0.8
"""Of the score that all but 1 % of rotated rows exceed: networks differ less than rotations do."""
MARGIN = 2
"""How far the threshold must be above what nine in ten validation rows score: new photographs
score higher than those of the data set."""

CHUNK_ROWS = 2048
Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class OutOfDistributionDetector:
    """Detects embeddings of another network than the one that a model was trained on.

    Attributes:
        directions: (512, K) float32, orthogonal, of a length that makes training rows score 1.
        centre: (K,) float32, the mean of training rows along them.
        threshold: the largest score that still counts as in distribution; see `scores`.
        num_rows: training rows that these were found on.
    """

    directions: NDArray[np.float32]
    centre: NDArray[np.float32]
    threshold: float
    num_rows: int

    @classmethod
    def fit(cls, train: Rows, valid: Rows | None = None) -> "OutOfDistributionDetector | None":
        """Fit directions, centre and threshold to embeddings.

        Args:
            train: (N, 512) embeddings in random order, of which the first MAX_ROWS count.
            valid: (V, 512) others of the same network, for the threshold. Where these are too few
                or None, a fifth of `train` is held back instead.

        Returns:
            None where it could not be relied on: too few rows, or a network that uses all
            directions alike.
        """
        train = train[:MAX_ROWS]
        if valid is None or len(valid) < MIN_VALIDATION_ROWS:
            num_held_back = len(train) // 5
            train, valid = train[num_held_back:], train[:num_held_back]
        if len(train) < MIN_ROWS:
            return None
        directions, centre = _least_used_directions(train)
        familiar = np.percentile(_scores(valid, directions, centre), 90)
        foreign = np.percentile(_scores(rotated(valid), directions, centre), 1)
        threshold = float(FOREIGN_SHARE * foreign)
        if threshold < MARGIN * familiar:
            return None
        return cls(directions, centre, threshold, len(train))

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> "OutOfDistributionDetector | None":
        """Read a detector from a checkpoint's dict; None where it holds none.

        Raises:
            CheckpointError: it is not what this program writes.
        """
        plain = content.get("embeddings")
        if plain is None:
            return None
        problem = _problem(plain)
        if problem:
            raise CheckpointError(
                f'the checkpoint\'s "embeddings" are damaged or of another version: {problem}'
            )
        directions, centre = plain["directions"].numpy(), plain["centre"].numpy()
        return cls(directions, centre, plain["threshold"], plain["num_rows"])

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps under "embeddings": tensors and plain values."""
        import torch

        arrays = {
            "directions": torch.from_numpy(self.directions),
            "centre": torch.from_numpy(self.centre),
        }
        return {**arrays, **self.describe()}

    def describe(self) -> dict[str, Any]:
        """Return in plain values how it decides."""
        return {"method": METHOD, "threshold": self.threshold, "num_rows": self.num_rows}

    def scores(self, embeddings: Rows) -> NDArray[np.float32]:
        """Return squared deviations (N,) along the directions: on average 1 for training rows.

        Args:
            embeddings: (N, 512), of unit length where those trained on are.
        """
        return _scores(embeddings, self.directions, self.centre)

    def is_in_distribution(self, embeddings: Rows) -> NDArray[np.bool_]:
        """Return which (N,) of embeddings (N, 512) come from the network trained on."""
        is_inside: NDArray[np.bool_] = self.scores(embeddings) <= self.threshold
        return is_inside

    def foreign_share(self, embeddings: Rows) -> float:
        """Return the share in [0, 1] of embeddings (N, 512) that come from another network."""
        return float(1 - self.is_in_distribution(embeddings).mean())


def draw_rows(embeddings: Rows, rows: NDArray[np.int64], seed: int, most: int = MAX_ROWS) -> Rows:
    """Copy at most `most` of `rows`, in random order."""
    drawn: Rows = embeddings[generator(seed, "network check").permutation(rows)[:most]]
    return drawn


def rotated(embeddings: Rows, seed: int = 0) -> Rows:
    """Rotate embeddings (N, 512) at random, to stand in for those of another network."""
    turned: Rows = embeddings @ _rotation(seed)
    return turned


@functools.cache
def _rotation(seed: int) -> NDArray[np.float32]:
    normal = np.random.default_rng(seed).standard_normal((EMBEDDING_SIZE, EMBEDDING_SIZE))
    rotation, upper = np.linalg.qr(normal)
    rotation *= np.sign(np.diag(upper))  # all rotations alike; Source: arXiv math-ph/0609050
    return rotation.astype(np.float32)


def _least_used_directions(rows: Rows) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scaled directions (512, K) and centre (K,), from sums of chunks in float64."""
    mean = rows.mean(0, dtype=np.float64)
    squares = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), CHUNK_ROWS):
        centred = rows[start : start + CHUNK_ROWS] - mean.astype(rows.dtype)
        squares += centred.T @ centred
    variances, vectors = np.linalg.eigh(squares / (len(rows) - 1))
    mean_score = max(variances[:NUM_DIRECTIONS].sum(), 1e-6)  # 0 where all rows are the same
    directions = vectors[:, :NUM_DIRECTIONS] / np.sqrt(mean_score)
    return directions.astype(np.float32), (mean @ directions).astype(np.float32)


def _scores(
    embeddings: Rows, directions: NDArray[np.float32], centre: NDArray[np.float32]
) -> NDArray[np.float32]:
    deviations = embeddings.astype(np.float32, copy=False) @ directions - centre
    squares: NDArray[np.float32] = np.einsum("nk,nk->n", deviations, deviations)
    return squares


def _problem(plain: Any) -> str:
    """Return what is wrong with the detector of a checkpoint; empty if nothing is."""
    if not isinstance(plain, dict) or plain.get("method") != METHOD:
        return f"expected a dict of method {METHOD!r}"
    shapes = {"directions": (EMBEDDING_SIZE, NUM_DIRECTIONS), "centre": (NUM_DIRECTIONS,)}
    for name, shape in shapes.items():
        if not _is_array(plain.get(name), shape):
            return f"{name} are not finite float32 numbers of shape {shape}"
    threshold, num_rows = plain.get("threshold"), plain.get("num_rows")
    if not isinstance(threshold, float) or not 0 < threshold < math.inf:
        return f"threshold {threshold!r} is not a positive number"
    if type(num_rows) is not int or num_rows < 1:
        return f"num_rows {num_rows!r} is not a positive whole number"
    return ""


def _is_array(tensor: Any, shape: tuple[int, ...]) -> bool:
    """Check that a value is a tensor of this shape that can be used as numpy array."""
    import torch

    if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided:
        return False
    is_float = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return is_float and tensor.shape == shape and bool(torch.isfinite(tensor).all())
