"""A result beside its baselines: metrics with their spread, and which differences count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from studies.intervals import bootstrap, corrected_t_test, holm
from studies.metrics import (
    FaceScores,
    evaluate,
    metrics_from_totals,
    pool,
    score,
    split_by_run,
    subject_codes,
    subject_totals,
)
from studies.protocols import LOWER_IS_BETTER, TASKS, StudyPart
from studies.results import StudyResult

SIGNIFICANT = 0.05


# --- metrics --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """Mean and population standard deviation over runs."""

    mean: float
    std: float


@dataclass(frozen=True)
class MetricSummary(Spread):
    """A metric on one split: mean and population std over runs, 95 % interval over subjects."""

    low: float | None
    high: float | None


@dataclass(frozen=True)
class SplitSummary:
    """One split of all runs: different faces, their mean number, people, and metrics by name."""

    faces: int
    faces_a_run: float
    subjects: int
    num_runs: int
    metrics: dict[str, MetricSummary]


@dataclass(frozen=True)
class RunSummary:
    """One training: how many epochs, and its metrics by split."""

    seed: int
    fold: int | None
    epochs: int
    splits: dict[str, dict[str, float]]


@dataclass(frozen=True)
class BaselineValues:
    """Metrics of one fit of a baseline."""

    seed: int
    fold: int | None
    values: dict[str, float]


@dataclass(frozen=True)
class BaselineSummary(SplitSummary):
    """A baseline on the split that its result is judged by."""

    runs: list[BaselineValues]


def summarise_split(runs: Sequence[FaceScores], values: Sequence[dict[str, float]]) -> SplitSummary:
    """Summarise the scores and the metrics (`values`) of all runs on one split."""
    task = runs[0].task
    faces = pool(runs).faces
    codes, num_subjects = subject_codes(faces)
    totals = [
        subject_totals(run, of_run, num_subjects)
        for run, of_run in zip(runs, split_by_run(codes, runs), strict=True)
    ]
    intervals = bootstrap(totals, lambda drawn: metrics_from_totals(task, drawn))
    return SplitSummary(
        faces=len(np.unique(faces.row)),
        faces_a_run=float(np.mean([len(run) for run in runs])),
        subjects=num_subjects,
        num_runs=len(runs),
        metrics={
            name: MetricSummary(
                found.value,
                float(np.std([of_run[name] for of_run in values])),
                found.low,
                found.high,
            )
            for name, found in intervals.items()
        },
    )


def summarise_baselines(folder: Path, result: StudyResult) -> dict[str, BaselineSummary]:
    """Summarise every baseline that has runs on the split that the result is judged by."""
    found = {}
    for name, runs in result.baselines.items():
        usable = [run for run in runs if run.predictions.get(result.judged)]
        predictions = result.read_predictions(folder, result.judged, usable)
        scores = [score(one, result.task) for one in predictions]
        if scores:
            values = [evaluate(run) for run in scores]
            of_runs = [
                BaselineValues(run.seed, run.fold, of_run)
                for run, of_run in zip(usable, values, strict=True)
            ]
            found[name] = BaselineSummary(**vars(summarise_split(scores, values)), runs=of_runs)
    return found


# --- differences ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """A result and a baseline by one metric: means over the runs that both have, and the test.

    Attributes:
        difference: ours minus theirs.
        num_pairs: observations of the test; it needs two.
        test_to_train: rows judged by, over rows trained on.
        t: None where there is no test, or all differences are the same.
        degrees: of freedom.
        p: two-sided.
        adjusted_p: for the number of tests.
        verdict: better, worse, no difference shown, or not tested.
    """

    task: str
    protocol: str
    split: str
    baseline: str
    metric: str
    ours: float
    theirs: float
    num_runs: int
    difference: float
    num_pairs: int
    test_to_train: float
    t: float | None
    degrees: int | None
    p: float | None
    adjusted_p: float | None = None
    verdict: str = "not tested"


def compare(
    part: StudyPart,
    judged: str,
    runs: Sequence[RunSummary],
    splits: Mapping[str, SplitSummary],
    baselines: Mapping[str, BaselineSummary],
) -> list[Comparison]:
    """Compare a result with its baselines by the task's metrics; `adjust` adds the verdicts.

    Runs are paired by seed and fold. Where there are folds, the differences of the seeds of a fold
    are averaged first: seeds share all their data, so only the folds count as observations.
    """
    test_to_train = splits[judged].faces_a_run / splits["train"].faces_a_run
    our_runs = {(run.seed, run.fold): run.splits[judged] for run in runs}
    found = []
    for name, baseline in baselines.items():
        their_runs = {(run.seed, run.fold): run.values for run in baseline.runs}
        common = [run for run in our_runs if run in their_runs]
        for metric in TASKS[part.task].compared if common else ():
            ours = [our_runs[run][metric] for run in common]
            theirs = [their_runs[run][metric] for run in common]
            differences = [one - other for one, other in zip(ours, theirs, strict=True)]
            observations = _averaged_over_seeds(common, differences)
            test = corrected_t_test(observations, test_to_train)
            found.append(
                Comparison(
                    task=part.task,
                    protocol=part.protocol,
                    split=judged,
                    baseline=name,
                    metric=metric,
                    ours=float(np.mean(ours)),
                    theirs=float(np.mean(theirs)),
                    num_runs=len(common),
                    difference=float(np.mean(differences)),
                    num_pairs=len(observations),
                    test_to_train=test_to_train,
                    t=None if test is None else test.t,
                    degrees=None if test is None else test.degrees,
                    p=None if test is None else test.p,
                )
            )
    return found


def _averaged_over_seeds(
    runs: Sequence[tuple[int, int | None]], differences: Sequence[float]
) -> list[float]:
    """Return one difference a fold, or one a seed where there are no folds."""
    units: dict[int, list[float]] = {}
    for (seed, fold), difference in zip(runs, differences, strict=True):
        units.setdefault(seed if fold is None else fold, []).append(difference)
    return [float(np.mean(values)) for _, values in sorted(units.items())]


def adjust(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Adjust the p-values for their number, and say what each difference is."""
    adjusted = iter(holm([one.p for one in comparisons if one.p is not None]))
    return [one if one.p is None else _judged(one, next(adjusted)) for one in comparisons]


def _judged(comparison: Comparison, adjusted_p: float) -> Comparison:
    verdict = "no difference shown"
    if adjusted_p <= SIGNIFICANT:
        is_lower = comparison.difference < 0
        is_better = is_lower == (comparison.metric in LOWER_IS_BETTER)
        verdict = "better" if is_better else "worse"
    return replace(comparison, adjusted_p=adjusted_p, verdict=verdict)
