"""What made the embeddings of a data set; data sets that are joined must come from one network."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.data_sets import parts_of
from faces.out_of_distribution import OutOfDistributionDetector, draw_rows
from utils.errors import DataError
from utils.files import read_json
from utils.text import shown

SAMPLE_ROWS = 1000
"""Of each data set, to be judged by the others."""
MIN_SAMPLE_ROWS = 20
"""Fewer say little: unusual photographs."""

MOST_FOREIGN = 0.5
"""New photographs of the same network stay far below."""

Parts = dict[Path, NDArray[np.float32]]


def extractors_by_dataset(data_dir: Path | str, dataset: str) -> dict[str, Any]:
    """Read what made the embeddings of each part of a data set, from the counts beside its file.

    Returns:
        {"imdb": record, ...} by the names of the parts, without the parts that have none.
    """
    extractors = {}
    for part in parts_of(data_dir, dataset):
        content = read_json(part.meta_data) if part.meta_data.is_file() else None
        if isinstance(content, dict) and "extractor" in content:
            extractors[part.name] = content["extractor"]
    return extractors


def dataset_title(dataset: str, extractors: dict[str, Any]) -> str:
    """Return the name of a data set in output; a synthetic one is called so wherever it shows."""
    name = shown(dataset)[1:-1]
    return f"{name} (synthetic)" if is_synthetic(extractors) else name


def is_synthetic(extractors: dict[str, Any]) -> bool:
    """Return whether a part of a data set was made by `make_sample_data`."""
    return "synthetic" in json.dumps(extractors)


def refuse_foreign(parts: Parts, seed: int) -> None:
    """Compare every data set with every other.

    Args:
        parts: data files and their embeddings (N, 512). One that has too few to learn from is
            only judged by the others, one of a handful not even that.
        seed: of the rows looked at.

    Raises:
        DataError: one of them comes from another network.
    """
    detectors = {
        path: OutOfDistributionDetector.fit(draw_rows(embeddings, np.arange(len(embeddings)), seed))
        for path, embeddings in parts.items()
    }
    for one, other in itertools.permutations(parts, 2):
        detector, embeddings = detectors[one], parts[other]
        if detector is None or len(embeddings) < MIN_SAMPLE_ROWS:
            continue
        sample = draw_rows(embeddings, np.arange(len(embeddings)), seed, SAMPLE_ROWS)
        share = detector.foreign_share(sample)
        if share > MOST_FOREIGN:
            raise DataError(
                f"{one} and {other} cannot be joined: {share:.0%} of the embeddings looked at in "
                f"{other} come from another network than those in {one}. Extract both with the "
                "same face server (extractor.json beside the images says what made them), or "
                "train on one of them"
            )
