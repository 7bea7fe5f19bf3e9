"""Every number of the report, computed from what the runs left."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from data_loader.extractors import extractors_by_dataset, is_synthetic
from studies import calibration, comparisons, coverage, groups, leakage
from studies.comparisons import BaselineSummary, Comparison, RunSummary, SplitSummary
from studies.intervals import Floats
from studies.metrics import FaceScores, Ints, evaluate, pool, score
from studies.protocols import PROTOCOLS, PUBLISHED, TASKS, PublishedFigure
from studies.results import StudyResult, StudyRun, read_results
from trainer.components import COMPONENTS
from utils.errors import UserError
from utils.labels import ages_to_classes

LOADER = COMPONENTS["data_loader"]["AgeDataLoader"]

LOGGED = ("loss", "val_loss", "accuracy", "val_accuracy")
"""Values of each epoch that the report draws."""


@dataclass(frozen=True)
class LearningCurve:
    """A logged value of every epoch: mean over runs, and one population std below and above it."""

    mean: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class LearningCurves:
    """Epochs 1, 2, ... and the curves by name; one that an epoch has no value of is left out."""

    epochs: list[int]
    curves: dict[str, LearningCurve]


@dataclass(frozen=True)
class DataSummary:
    """The different faces that a result's runs were trained and judged on.

    Attributes:
        subjects: people, as far as they are known.
        faces_of_unknown: faces whose subject is not known.
        sources: faces by Adience, imdb and wiki; genders and ages likewise.
        extractors: what made the embeddings, by source.
    """

    dataset: str
    validation_by: str
    faces: int
    subjects: int
    faces_of_unknown: int
    sources: dict[str, int]
    genders: dict[str, int]
    ages: dict[str, int]
    extractors: dict[str, Any]


@dataclass(frozen=True)
class MissingResult:
    """A result that was not run."""

    task: str
    protocol: str
    is_run: bool = False


@dataclass(frozen=True)
class ResultSummary:
    """All that the report shows of one result; "judged" names the split that counts."""

    task: str
    protocol: str
    is_run: bool
    config: dict[str, Any]
    engine: str
    seconds: float | None
    num_runs: int
    judged: str
    headline: tuple[str, ...]
    runs: list[RunSummary]
    splits: dict[str, SplitSummary]
    baselines: dict[str, BaselineSummary]
    published: dict[str, PublishedFigure]
    learning: LearningCurves
    shared: list[leakage.SharedRows]
    data: DataSummary
    confusion: Ints
    classes: list[groups.ClassSummary]
    fairness: groups.Fairness
    reliability: list[calibration.ReliabilityBin]
    risk_coverage: calibration.RiskCoverage
    error_by_age: list[calibration.AgeBand]
    confidence: coverage.ConfidenceSummary | None


@dataclass(frozen=True)
class StudySummary:
    """All that the report shows."""

    study: str
    protocols: dict[str, str]
    results: list[ResultSummary | MissingResult]
    comparisons: list[Comparison]
    by_image: list[leakage.ImageComparison]
    duplicates: leakage.DuplicateCheck

    @property
    def done(self) -> list[ResultSummary]:
        """The results that were run."""
        return [result for result in self.results if isinstance(result, ResultSummary)]

    @property
    def quoted(self) -> list[ResultSummary]:
        """The result of each task whose confidence is quoted first: on test folds if there is one.

        Of these the fine-tuned networks, and of the others those trained on most data.
        """
        sure = [result for result in self.done if result.confidence is not None]
        best: dict[str, ResultSummary] = {}
        for result in sorted(sure, key=lambda result: "cdba".index(result.protocol)):
            best.setdefault(result.task, result)
        return [best[task] for task in TASKS if task in best]

    @property
    def is_synthetic(self) -> bool:
        """Whether any result comes from the synthetic sample."""
        return any(is_synthetic(result.data.extractors) for result in self.done)


def summarise(folder: Path) -> StudySummary:
    """Compute all that the report shows from what the runs left.

    Args:
        folder: of the study; holds `<task>-<protocol>.json`.

    Raises:
        DataError: no such folder, or a file of it is damaged.
    """
    folder = Path(folder)
    results: list[ResultSummary | MissingResult] = []
    compared: list[Comparison] = []
    by_image: list[leakage.ImageComparison] = []
    with_folds: list[tuple[StudyResult, list[FaceScores]]] = []
    for part, result in read_results(folder).items():
        if result is None:
            results.append(MissingResult(part.task, part.protocol))
            continue
        summary, judged = _summarise_result(folder, result)
        results.append(summary)
        compared.extend(
            comparisons.compare(
                part, result.judged, summary.runs, summary.splits, summary.baselines
            )
        )
        if result.judged == "test":
            with_folds.append((result, judged))
        if part.protocol == "d":
            values = {split: [run.splits[split] for run in summary.runs] for split in result.splits}
            by_image.extend(leakage.compare_by_image(folder, part.task, values))
    return StudySummary(
        study=folder.name,
        protocols=PROTOCOLS,
        results=results,
        comparisons=comparisons.adjust(compared),
        by_image=by_image,
        duplicates=leakage.check_duplicates(with_folds),
    )


def plain(content: Any) -> Any:
    """Copy nested values as what JSON knows; NaN and infinite numbers become None.

    >>> plain({"a": (np.float64(1.5), float("nan")), 2: np.arange(2)})
    {'a': [1.5, None], '2': [0, 1]}
    """
    if isinstance(content, BaseModel):
        return plain(content.model_dump())
    if is_dataclass(content):
        return {field.name: plain(getattr(content, field.name)) for field in fields(content)}
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return plain(content.tolist())
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def _summarise_result(folder: Path, result: StudyResult) -> tuple[ResultSummary, list[FaceScores]]:
    """Return the summary of a result, and the scores of the split that it is judged by."""
    task = result.task
    scores = {
        split: [score(one, task) for one in result.read_predictions(folder, split)]
        for split in result.splits
    }
    values = {split: [evaluate(run) for run in runs] for split, runs in scores.items()}
    judged = scores[result.judged]
    pooled = pool(judged)
    summary = ResultSummary(
        task=task,
        protocol=result.protocol,
        is_run=True,
        config=result.config,
        engine=result.engine,
        seconds=result.seconds,
        num_runs=len(result.runs),
        judged=result.judged,
        headline=TASKS[task].headline,
        runs=[
            RunSummary(
                run.seed,
                run.fold,
                len(run.epochs),
                {split: of_runs[index] for split, of_runs in values.items()},
            )
            for index, run in enumerate(result.runs)
        ],
        splits={
            split: comparisons.summarise_split(runs, values[split])
            for split, runs in scores.items()
        },
        baselines=comparisons.summarise_baselines(folder, result),
        published={
            metric: PUBLISHED[task, result.protocol, metric]
            for metric in TASKS[task].metrics
            if (task, result.protocol, metric) in PUBLISHED
        },
        learning=learning_curves(result.runs),
        shared=leakage.worst_of_runs(
            [
                leakage.shared_between_splits(
                    {split: runs[index].faces for split, runs in scores.items()}
                )
                for index in range(len(result.runs))
            ]
        ),
        data=_describe_data(result, [run for runs in scores.values() for run in runs]),
        confusion=groups.confusion(pooled),
        classes=groups.class_table(pooled),
        fairness=groups.fairness(judged),
        reliability=calibration.reliability(pooled),
        risk_coverage=calibration.risk_coverage(judged),
        error_by_age=calibration.error_by_age(judged),
        confidence=coverage.summarise_confidence(folder, result),
    )
    return summary, judged


def learning_curves(runs: Sequence[StudyRun]) -> LearningCurves:
    """Average each logged value over the runs that came to an epoch."""
    length = max(len(run.epochs) for run in runs)
    curves = {}
    for name in LOGGED:
        table = np.full((len(runs), length), np.nan)
        for index, run in enumerate(runs):
            logged = [epoch.get(name) for epoch in run.epochs]
            table[index, : len(logged)] = [np.nan if one is None else one for one in logged]
        if length and not np.isnan(table).all(axis=0).any():
            mean, spread = np.nanmean(table, axis=0), np.nanstd(table, axis=0)
            curves[name] = LearningCurve(mean, mean - spread, mean + spread)
    return LearningCurves(list(range(1, length + 1)), curves)


def _describe_data(result: StudyResult, runs: Sequence[FaceScores]) -> DataSummary:
    faces = pool(runs).faces
    faces = faces[faces.first_of_rows]
    age_names = groups.age_group_names()
    age_group = ages_to_classes(faces.age, len(age_names))
    settings = result.config.get("data_loader", {}).get("args", {})
    dataset = str(settings.get("dataset", ""))
    return DataSummary(
        dataset=dataset,
        validation_by=settings.get("validation_by", LOADER.default("validation_by")),
        faces=len(faces.row),
        subjects=len(faces.known_subjects),
        faces_of_unknown=int((faces.subject == "").sum()),
        sources=_counts(faces.source),
        genders={
            groups.GENDER_WORDS[key]: n
            for key, n in _counts(faces.gender).items()
            if key in groups.GENDER_WORDS
        },
        ages={name: int((age_group == one).sum()) for one, name in enumerate(age_names)},
        extractors=_extractors(settings.get("data_dir"), dataset),
    )


def _counts(column: NDArray[Any]) -> dict[str, int]:
    names, counts = np.unique(column, return_counts=True)
    return dict(zip(names.tolist(), counts.tolist(), strict=True))


def _extractors(data_dir: Any, dataset: str) -> dict[str, Any]:
    try:
        return extractors_by_dataset(str(data_dir), dataset)
    except (UserError, OSError, KeyError):
        return {}
