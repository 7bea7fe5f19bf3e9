"""Is somebody at least of an age t? Its probability, calibrated."""

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from confidence.rows import Floats, JudgedRows
from utils.problems import JsonObject

MIN_LOGIT = float(np.log(1e-4 / (1 - 1e-4)))
"""Probabilities nearer to 0 or 1 than 0.0001 are taken as that."""

MOST_THRESHOLDS = 25
"""That the calibration is fitted at: more, all alike, cost time and change nothing."""

STEP = 0.05
"""Logits are rounded to multiples of it for the fit, so that its time does not grow with rows."""

PENALTY = 1e-6
"""Of a slope away from 0, beside one person: keeps it finite where no answer is wrong."""


def over_by_class(bounds: Floats, thresholds: ArrayLike) -> Floats:
    """Return which share of the years of each class are t or more, (C, T).

    >>> over_by_class(np.array([[15.0, 20.0], [25.0, 32.0]]), [18, 21, 25]).tolist()
    [[0.5, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    first, last = bounds[:, :1], bounds[:, 1:]
    shares: Floats = np.clip((last + 1 - np.asarray(thresholds)) / (last + 1 - first), 0, 1)
    return shares


class OverCalibration(JsonObject):
    """Turns the sum of a network's probabilities of the years from t on into one that holds.

    With p that sum, it is 1 / (1 + exp(-(slope log(p / (1 - p)) + intercept))): Platt's scaling.
    The same for every t, so that nobody is over 25 more probably than over 18. Source: Platt,
    Probabilistic Outputs for Support Vector Machines (1999).
    """

    slope: float = Field(gt=0)
    intercept: float

    @classmethod
    def fit(cls, rows: JudgedRows, bounds: Floats) -> "OverCalibration | None":
        """Fit slope and intercept, at the first years of all classes but one.

        Args:
            rows: of people whom the model was not trained on.
            bounds: (C, 2) first and last year of each class.

        Returns:
            None where nobody is on one side, or where the network knows nothing.
        """
        from sklearn.linear_model import LogisticRegression

        step = -(-(len(bounds) - 1) // MOST_THRESHOLDS)
        by_class = over_by_class(bounds, bounds[1::step, 0])
        is_over = (by_class[rows.labels] == 1).ravel()
        if is_over.all() or not is_over.any():
            return None
        steps = np.rint(_logits(rows.probabilities @ by_class).ravel() / STEP).astype(np.int64)
        weights = rows.weights.repeat(by_class.shape[1])
        lowest = int(steps.min())
        mass = [np.bincount(steps - lowest, weights * side) for side in (~is_over, is_over)]
        x = STEP * np.tile(lowest + np.arange(len(mass[0])), 2)[:, None]
        model = LogisticRegression(C=1 / PENALTY)
        model.fit(x, np.repeat([False, True], len(mass[0])), np.concatenate(mass))
        slope, intercept = float(model.coef_[0, 0]), float(model.intercept_[0])
        return cls(slope=slope, intercept=intercept) if slope > 0 else None

    def __call__(self, sums: Floats) -> Floats:
        """Map the network's sums to probabilities, of any shape."""
        calibrated: Floats = 1 / (1 + np.exp(-(self.slope * _logits(sums) + self.intercept)))
        return calibrated


def _logits(probabilities: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        logits = np.log(probabilities) - np.log1p(-np.minimum(probabilities, 1))
    clipped: Floats = np.clip(logits, MIN_LOGIT, -MIN_LOGIT)
    return clipped
