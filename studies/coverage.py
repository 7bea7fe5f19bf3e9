"""Do intervals of ages and sets of genders hold the truth as often as they say, and for whom?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from studies.comparisons import MetricSummary
from studies.groups import GroupSummary, extremes, measure_groups
from studies.intervals import Interval
from studies.judged_confidence import LEVEL, JudgedConfidence, join, judge_runs
from studies.results import StudyResult
from studies.thresholds import ThresholdSummary, summarise_thresholds

COVERED = "covered"


@dataclass(frozen=True)
class ConfidenceSummary:
    """How sure the answers of a result are, and how often that holds; every person counts once.

    Attributes:
        level: share of new people whose interval or set is to hold the truth.
        num_people: that the confidence of a run was fitted on, a mean.
        size_name: width (years) or one_letter (share of sets of one letter).
        covered: share of intervals or sets that hold the truth: mean and population std over
            runs, 95 % interval over subjects.
        size: the same of what `size_name` says.
        groups: both by gender and age, runs pooled.
        worst: index of the least covered group of the cross; None where all are too small.
        thresholds: of ages; empty for gender, and where people are too few.
    """

    level: float
    num_people: float
    size_name: str
    covered: MetricSummary
    size: MetricSummary
    groups: list[GroupSummary]
    worst: int | None
    thresholds: list[ThresholdSummary]


def summarise_confidence(folder: Path, result: StudyResult) -> ConfidenceSummary | None:
    """Fit and judge the confidence of all runs; None where people are too few."""
    runs = judge_runs(folder, result)
    if not runs:
        return None
    size_name = "one_letter" if result.task == "gender" else "width"
    pooled = join(runs)
    values = {COVERED: pooled.covered, size_name: pooled.size}
    everybody, groups = measure_groups(pooled.faces, values, pooled.weights)
    return ConfidenceSummary(
        level=LEVEL,
        num_people=pooled.num_people,
        size_name=size_name,
        covered=_over_runs(everybody[COVERED], runs, "covered"),
        size=_over_runs(everybody[size_name], runs, "size"),
        groups=groups,
        worst=extremes(groups, COVERED)[0],
        thresholds=summarise_thresholds(runs),
    )


def _over_runs(found: Interval, runs: Sequence[JudgedConfidence], name: str) -> MetricSummary:
    means = [np.average(getattr(run, name), weights=run.weights) for run in runs]
    return MetricSummary(found.value, float(np.std(means)), found.low, found.high)
