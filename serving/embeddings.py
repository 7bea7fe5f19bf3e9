"""Embeddings of strangers, from a body or from Python: checked, or refused in one line."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE, is_unit_length

Embeddings = NDArray[np.float32]
EXPECTED = f"expected finite numbers (N, {EMBEDDING_SIZE})"


class EmbeddingsError(UserError):
    """Embeddings are of another form, or of another length."""


def to_float32(numbers: NDArray[Any]) -> Embeddings:
    """Take an array of numbers (N, 512); those beyond float32 become infinite.

    Raises:
        EmbeddingsError: it has another shape, or holds something else.
    """
    if numbers.dtype.kind not in "fiu":
        raise EmbeddingsError(f"a face holds something else than numbers, {EXPECTED}")
    if numbers.ndim != 2 or numbers.shape[1] != EMBEDDING_SIZE:
        raise EmbeddingsError(f"embeddings of shape {numbers.shape}, {EXPECTED}")
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32, copy=False)


def of_unit_length(embeddings: Embeddings, remedy: str, normalize: bool = False) -> Embeddings:
    """Check that vectors are finite and of unit length, or bring them to it.

    Args:
        embeddings: (N, 512).
        remedy: what to do about another length, for the error.
        normalize: bring vectors to unit length; else those of another length are refused.

    Raises:
        EmbeddingsError: a vector is not.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64))
    _refuse(~np.isfinite(length), "holds NaN or infinity, expected finite numbers")
    if normalize:
        _refuse(length == 0, "is all zero, which has no direction")
        normalized: Embeddings = (embeddings / length[:, None]).astype(np.float32)
        return normalized
    is_off = ~is_unit_length(length)
    found = f"{length[is_off.argmax()]:.4g}" if is_off.any() else ""
    _refuse(is_off, f"has length {found}, expected 1 (insightface's normed_embedding); {remedy}")
    return embeddings


def _refuse(is_bad: NDArray[np.bool_], problem: str) -> None:
    if is_bad.any():
        raise EmbeddingsError(f"face {int(is_bad.argmax())} {problem}")
