"""Is somebody at least of an age t? How often this goes wrong, and how far P(t or more) holds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from confidence.error_rates import DEMANDED, THRESHOLDS, ThresholdErrors, measure_errors
from confidence.rows import JudgedRows
from confidence.thresholds import over_by_class
from studies.calibration import ReliabilityBin, compare_in_bins
from studies.intervals import Floats, Interval, bootstrap
from studies.judged_confidence import JudgedConfidence, join
from studies.metrics import Ints, ratio, subject_codes, sum_by_subject
from studies.predictions import FaceInfo
from utils.labels import ADIENCE_GROUPS, ages_to_classes


@dataclass(frozen=True)
class ThresholdSummary:
    """The mistakes at one age t, runs pooled; every person counts once.

    Attributes:
        errors: in the form of the checkpoints; `errors.by_probability` are the values of the next
            two.
        passed_under: by demanded probability, the share of those under t who are passed.
        refused_over: the share of those of t or more who are refused.
        reliability: the probability of being t or more against the share who are.
        calibration_error: mean distance of the two over the bins, weighted by their share.
    """

    errors: ThresholdErrors
    passed_under: list[Interval]
    refused_over: list[Interval]
    reliability: list[ReliabilityBin]
    calibration_error: float


def summarise_thresholds(runs: Sequence[JudgedConfidence]) -> list[ThresholdSummary]:
    """Measure the mistakes at each age that the labels can judge.

    A range of Adience that begins below t and ends above it does not tell on which side somebody
    is. Where some faces have ages in years, only these are judged.
    """
    known = [run for run in runs if not np.isnan(run.over).any()]
    if not known:
        return []
    judged = _of_known_years(join(known))
    years, labels = _true_years(judged.faces)
    people, num_people = subject_codes(judged.faces)
    rows = JudgedRows(np.empty((len(labels), 0)), labels, people)
    errors = measure_errors(rows, years, judged.over, judged.expected_ages)
    if not errors:
        return []
    columns = [THRESHOLDS.index(one.threshold) for one in errors]
    over = judged.over[:, columns]
    is_over = over_by_class(years, [one.threshold for one in errors])[labels] == 1
    mistakes = _mistakes(over, is_over, people, num_people)
    found = []
    for index, of_threshold in enumerate(errors):
        bins = compare_in_bins(over[:, index], is_over[:, index], judged.weights)
        found.append(
            ThresholdSummary(
                errors=of_threshold,
                passed_under=[mistakes[f"{index}/0/{at}"] for at in range(len(DEMANDED))],
                refused_over=[mistakes[f"{index}/1/{at}"] for at in range(len(DEMANDED))],
                reliability=bins,
                calibration_error=sum(
                    one.share * abs(one.confidence - one.accuracy) for one in bins
                ),
            )
        )
    return found


def _of_known_years(judged: JudgedConfidence) -> JudgedConfidence:
    chosen = np.flatnonzero(judged.faces.source != "Adience")
    if not len(chosen):
        return judged
    return replace(
        judged,
        faces=judged.faces[chosen],
        weights=judged.weights[chosen],
        expected_ages=judged.expected_ages[chosen],
        over=judged.over[chosen],
    )


def _true_years(faces: FaceInfo) -> tuple[Floats, Ints]:
    """Return first and last years (K, 2) that occur, and which of them each face has, (N,)."""
    ranges = np.array(ADIENCE_GROUPS, np.float64)[ages_to_classes(faces.age, len(ADIENCE_GROUPS))]
    whole = np.floor(faces.age.astype(np.float64))[:, None].repeat(2, axis=1)
    of_faces = np.where((faces.source == "Adience")[:, None], ranges, whole)
    years, labels = np.unique(of_faces, axis=0, return_inverse=True)
    return years, labels


def _mistakes(over: Floats, is_over: Ints, people: Ints, num_people: int) -> dict[str, Interval]:
    """Return the rates of mistakes, named <threshold>/<0 under, 1 over>/<demanded probability>.

    Args:
        over: (N, T) probabilities.
        is_over: (N, T) the truth.
        people: (N,) numbers below `num_people`.
        num_people: on the faces.
    """
    num_demanded = len(DEMANDED)
    width = 1 + num_demanded
    entries = []
    for index in range(over.shape[1]):
        side = is_over[:, index].astype(np.int64)
        of_person_and_side = 2 * people + side
        weights = 1 / np.bincount(of_person_and_side)[of_person_and_side]
        first = (2 * index + side) * width
        entries.append((first, weights))
        for at, demanded in enumerate(DEMANDED, 1):
            is_wrong = (over[:, index] >= demanded) != is_over[:, index]
            entries.append((first + at, weights * is_wrong))
    num_sides = 2 * over.shape[1]
    totals = sum_by_subject(entries, people, (num_people, num_sides * width))

    def rates(drawn: Floats) -> dict[str, Floats]:
        by_side = drawn.reshape(*drawn.shape[:-1], num_sides, width)
        return {
            f"{side // 2}/{side % 2}/{at}": ratio(by_side[..., side, at + 1], by_side[..., side, 0])
            for side in range(num_sides)
            for at in range(num_demanded)
        }

    return bootstrap([totals], rates)
