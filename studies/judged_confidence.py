"""What the confidence of each run says of faces that it was not fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from confidence.age import AgeConfidence
from confidence.error_rates import NUM_PARTS, THRESHOLDS
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from studies.groups import gender_codes
from studies.intervals import Floats
from studies.metrics import subject_codes
from studies.predictions import FaceInfo, Predictions
from studies.protocols import TASKS
from studies.results import StudyResult
from utils.labels import class_bounds

LEVEL = 0.9


@dataclass(frozen=True)
class JudgedConfidence:
    """What the confidence of a run says of N faces that it was not fitted on.

    Attributes:
        faces: who they are.
        weights: (N,) one over how many faces of the person there are: each person counts once.
        covered: (N,) 1 where the interval or the set holds the truth, 0 where not.
        size: (N,) years of the interval, both ends included; for genders 1 where the set is one
            letter, 0 where it is both.
        expected_ages: (N,) in years; NaN for genders.
        over: (N, T) the probability of being at least so old as each of THRESHOLDS; NaN for
            genders, and where people were too few.
        num_people: that it was fitted on; a mean where faces are judged in parts.
    """

    faces: FaceInfo
    weights: Floats
    covered: Floats
    size: Floats
    expected_ages: Floats
    over: Floats
    num_people: float


def judge_runs(folder: Path, result: StudyResult) -> list[JudgedConfidence]:
    """Fit the confidence of each run to its validation rows, and ask it about others.

    Those are its test rows. Where there are none, the people of the validation rows are shared out
    among five parts, and each part is asked about by what was fitted to the others.

    Returns:
        of each run, in order; none at all where the people of a run are too few for LEVEL.
    """
    if "val" not in result.splits:
        return []
    validation = result.read_predictions(folder, "val")
    if result.judged == "val":
        pairs = (_shared_out(one) for one in validation)
    else:
        judged = result.read_predictions(folder, "test")
        pairs = ([pair] for pair in zip(validation, judged, strict=True))
    runs = [join([judge(result.task, *pair) for pair in of_run]) for of_run in pairs]
    return [] if any(np.isnan(run.size).any() for run in runs) else runs


def join(parts: Sequence[JudgedConfidence]) -> JudgedConfidence:
    """Join the faces of several parts or runs, in order."""
    names = ("weights", "covered", "size", "expected_ages", "over")
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return JudgedConfidence(
        FaceInfo.join([part.faces for part in parts]),
        **columns,
        num_people=float(np.mean([part.num_people for part in parts])),
    )


def _shared_out(predictions: Predictions) -> list[tuple[Predictions, Predictions]]:
    """Pair what each part is judged by with the part; a single person is judged by itself."""
    part_of = _rows_of(predictions).numbered_parts(NUM_PARTS)
    pairs = []
    for part in np.unique(part_of):
        own, others = np.flatnonzero(part_of == part), np.flatnonzero(part_of != part)
        pairs.append((predictions[others if len(others) else own], predictions[own]))
    return pairs


def _rows_of(predictions: Predictions) -> JudgedRows:
    people, _ = subject_codes(predictions.faces)
    genders = gender_codes(predictions.faces)
    return JudgedRows(predictions.probabilities, predictions.label, people, genders)


def judge(task: str, fitted_on: Predictions, judged: Predictions) -> JudgedConfidence:
    """Fit confidence to some people, and ask it about others."""
    fitted, rows = _rows_of(fitted_on), _rows_of(judged)
    if task == "gender":
        return _judge_genders(fitted, rows, judged.faces)
    return _judge_ages(class_bounds(TASKS[task].num_classes), fitted, rows, judged.faces)


def _judge_ages(
    bounds: NDArray[np.float32], fitted: JudgedRows, rows: JudgedRows, faces: FaceInfo
) -> JudgedConfidence:
    confidence = AgeConfidence.fit(fitted, bounds)
    low, high = confidence.intervals(rows.probabilities, rows.genders, LEVEL).T
    first, last = bounds[rows.labels].T
    return JudgedConfidence(
        faces=faces,
        weights=rows.weights,
        covered=((low <= first) & (last <= high)).astype(np.float64),
        size=high - low + 1,
        expected_ages=rows.probabilities.astype(np.float64) @ bounds.mean(axis=1),
        over=confidence.over(rows.probabilities, THRESHOLDS),
        num_people=fitted.num_people,
    )


def _judge_genders(fitted: JudgedRows, rows: JudgedRows, faces: FaceInfo) -> JudgedConfidence:
    sets = GenderConfidence.fit(fitted).sets(rows.probabilities, LEVEL)
    sizes = np.where(sets.any(axis=1), sets.sum(axis=1), np.nan)
    num_faces = len(rows.labels)
    return JudgedConfidence(
        faces=faces,
        weights=rows.weights,
        covered=sets[np.arange(num_faces), rows.labels].astype(np.float64),
        size=2 - sizes,
        expected_ages=np.full(num_faces, np.nan),
        over=np.full((num_faces, len(THRESHOLDS)), np.nan),
        num_people=fitted.num_people,
    )
