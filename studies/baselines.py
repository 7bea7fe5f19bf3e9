"""Baselines on the very rows of each run: logistic regression, and the majority class."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from studies.predictions import Probabilities, SplitRows, prediction_files, write_predictions
from studies.results import BaselineRun
from utils.config import ConfigParser
from utils.log import get_logger

BASELINES = {"logistic_regression": "Logistic regression", "majority": "Majority class"}
"""Their names for the reader."""

MAX_ITER = 1000
"""The slowest fit on real faces took 150."""

INVERSE_PENALTY = {2: 10.0, 8: 1.0, 101: 1.0}
"""C by number of classes: the best on validation rows; embeddings as they are, since neither
standardising nor another C did better (docs/study.md)."""


def write_baselines(
    config: ConfigParser, splits: Mapping[str, SplitRows], folder: Path
) -> dict[str, BaselineRun]:
    """Write the predictions of every baseline for one run, unless they are there.

    They depend on the data alone, so protocols that share rows share the files.

    Returns:
        By the name of the baseline.
    """
    loader, seed = config["data_loader"], config["seed"]
    arguments = loader["args"]
    key = json.dumps([loader, seed], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:12]
    written = {}
    for name in BASELINES:
        stem = f"predictions/baselines/{name}-{digest}"
        files = prediction_files(stem, splits)
        if not all((folder / file).is_file() for file in files.values() if file):
            values = baseline_probabilities(name, splits, arguments["num_classes"])
            write_predictions(values, splits, folder, stem)
        written[name] = BaselineRun(seed, arguments.get("test_cross_val"), files)
    return written


def baseline_probabilities(
    name: str, splits: Mapping[str, SplitRows], num_classes: int
) -> dict[str, Probabilities]:
    """Fit a baseline on the training rows, and return its probabilities (N, C) by split.

    The majority class is what always gives the shares of the classes among the training rows.
    """
    training = splits["train"]
    few_classes = len(np.unique(training.label)) < 2  # logistic regression refuses that
    if name == "majority" or few_classes:
        model = DummyClassifier(strategy="prior")
    else:
        model = LogisticRegression(C=INVERSE_PENALTY[num_classes], max_iter=MAX_ITER)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(training.embeddings, training.label)
    if caught:
        get_logger("study").warning(f"{name}: {MAX_ITER} steps were not enough to converge")
    return {
        split: _of_all_classes(model.predict_proba(rows.embeddings), model.classes_, num_classes)
        for split, rows in splits.items()
    }


def _of_all_classes(
    probabilities: NDArray[Any], classes: NDArray[np.int64], num_classes: int
) -> Probabilities:
    """Put the columns of the classes that were seen where they belong; the others get 0."""
    whole = np.zeros((len(probabilities), num_classes), np.float32)
    whole[:, classes] = probabilities
    return whole
