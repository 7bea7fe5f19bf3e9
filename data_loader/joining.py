"""Data sets that are joined must come from one network."""

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faces.out_of_distribution import OutOfDistributionDetector, draw_rows
from utils.errors import DataError

SAMPLE_ROWS = 1000
"""Of each data set, to be judged by the others."""
MIN_SAMPLE_ROWS = 20
"""Fewer say little: unusual photographs."""

MOST_FOREIGN = 0.5
"""New photographs of the same network stay far below."""

Parts = dict[Path, NDArray[np.float32]]


def refuse_foreign(parts: Parts, seed: int) -> None:
    """Compare every data set with every other.

    Args:
        parts: data files and their embeddings (N, 512). One that has too few to learn from is
            only judged by the others, one of a handful not even that.
        seed: of the rows looked at.

    Raises:
        DataError: one of them comes from another network.
    """
    checks = {path: _check(embeddings, seed) for path, embeddings in parts.items()}
    for one, other in itertools.permutations(parts, 2):
        check, embeddings = checks[one], parts[other]
        if check is None or len(embeddings) < MIN_SAMPLE_ROWS:
            continue
        sample = draw_rows(embeddings, np.arange(len(embeddings)), seed, SAMPLE_ROWS)
        share = check.foreign_share(sample)
        if share > MOST_FOREIGN:
            raise DataError(
                f"{one} and {other} cannot be joined: {share:.0%} of the embeddings looked at in "
                f"{other} come from another network than those in {one}. Extract both with the "
                "same face server (extractor.json beside the images says what made them), or "
                "train on one of them"
            )


def _check(embeddings: NDArray[np.float32], seed: int) -> OutOfDistributionDetector | None:
    return OutOfDistributionDetector.fit(draw_rows(embeddings, np.arange(len(embeddings)), seed))
