"""Who is served how well: classes, men and women, age groups, and gender with age group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from studies.intervals import Floats, Interval, bootstrap
from studies.metrics import (
    FaceScores,
    Ints,
    pool,
    ratio,
    subject_codes,
    sum_by_subject,
)
from studies.predictions import FaceInfo
from studies.protocols import LOWER_IS_BETTER, TASKS
from utils.labels import ages_to_classes

GENDER_WORDS = {"m": "male", "f": "female"}
NUM_AGE_GROUPS = 8
MIN_FACES = 30
"""A smaller group is shown, but neither worst nor best: its value is chance."""


def age_group_names() -> list[str]:
    """List the eight groups by the whole years that are nearest to their centres.

    >>> age_group_names()[:3], age_group_names()[-1]
    (['0-3', '4-7', '8-13'], '66-100')
    """
    groups = ages_to_classes(np.arange(101), NUM_AGE_GROUPS)
    years = [np.flatnonzero(groups == group) for group in range(NUM_AGE_GROUPS)]
    return [f"{of_group[0]}-{of_group[-1]}" for of_group in years]


# --- by class -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassSummary:
    """How well one class is recognised; None where nothing counts.

    Attributes:
        name: for the reader.
        faces: different faces of the class.
        recall: accuracy within the true class.
        precision: share of right guesses of it.
    """

    name: str
    faces: int
    recall: float | None
    precision: float | None


def class_names(task: str) -> list[str]:
    """List the names of the classes of a task.

    >>> class_names("gender")
    ['male', 'female']
    """
    if task == "gender":
        return list(GENDER_WORDS.values())
    return age_group_names() if task == "age8" else [str(year) for year in range(101)]


def class_table(pooled: FaceScores) -> list[ClassSummary]:
    """Summarise every class."""
    matrix = confusion(pooled)
    hits, true, guessed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    label = pooled.label[pooled.faces.first_of_rows]
    faces = np.bincount(label, minlength=len(matrix)).tolist()
    return [
        ClassSummary(
            name,
            faces[index],
            recall=_share(hits[index], true[index]),
            precision=_share(hits[index], guessed[index]),
        )
        for index, name in enumerate(class_names(pooled.task))
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def confusion(pooled: FaceScores) -> Ints:
    """Count the predictions, (true class, predicted class)."""
    size = TASKS[pooled.task].num_classes
    cells = np.bincount(pooled.label * size + pooled.predicted, minlength=size * size)
    return cells.reshape(size, size)


# --- by gender and age ----------------------------------------------------------------------------


@dataclass(frozen=True)
class GroupSummary:
    """How well one group is served, runs pooled.

    Attributes:
        gender: male, female or all.
        age: years from-to, or all.
        faces: different faces.
        subjects: different people.
        counts: whether there are enough faces to rank it.
        values: by metric, with 95 % intervals over subjects.
    """

    gender: str
    age: str
    faces: int
    subjects: int
    counts: bool
    values: dict[str, Interval]

    @property
    def is_ranked(self) -> bool:
        """True for a group of the cross that has enough faces."""
        return self.counts and "all" not in (self.gender, self.age)


@dataclass(frozen=True)
class Fairness:
    """All groups that have faces.

    Attributes:
        metrics: that they are measured by.
        ranked_by: the one that says which are worst and best.
        groups: the genders, the age groups, and the cross.
        worst: index of a group of the cross; None where all are too small.
        best: the same.
    """

    metrics: tuple[str, ...]
    ranked_by: str
    groups: list[GroupSummary]
    worst: int | None
    best: int | None


def group_names() -> list[tuple[str, str]]:
    """List (gender, age group) of all groups; "all" stands for both genders, or every age."""
    ages = age_group_names()
    genders = list(GENDER_WORDS.values())
    return [
        *((gender, "all") for gender in genders),
        *(("all", age) for age in ages),
        *((gender, age) for gender in genders for age in ages),
    ]


def gender_codes(faces: FaceInfo) -> Ints:
    """Return the class numbers of the true genders, (N,); -1 where one is not known."""
    return np.select([faces.gender == key for key in GENDER_WORDS], range(len(GENDER_WORDS)), -1)


def group_codes(faces: FaceInfo) -> list[Ints]:
    """Return the indices (N,) of the three groups that each face is in: gender, age, and both."""
    gender = gender_codes(faces)
    age = ages_to_classes(faces.age, NUM_AGE_GROUPS)
    of_age = len(GENDER_WORDS) + age
    of_both = len(GENDER_WORDS) + NUM_AGE_GROUPS + gender * NUM_AGE_GROUPS + age
    return [gender, of_age, of_both]


def fairness(runs: Sequence[FaceScores]) -> Fairness:
    """Measure every group, with 95 % intervals, and find the worst.

    Runs are pooled: a group's value is the mean over all its predictions, so that a fold with few
    of its faces weighs little. Groups of fewer than 30 faces are never the worst.
    """
    metrics = TASKS[runs[0].task].group_metrics
    pooled = pool(runs)
    values = {metric: pooled.values[metric] for metric in metrics}
    _, groups = measure_groups(pooled.faces, values, np.ones(len(pooled)))
    worst, best = extremes(groups, metrics[-1])
    return Fairness(metrics, metrics[-1], groups, worst, best)


def measure_groups(
    faces: FaceInfo, values: Mapping[str, Floats], weights: Floats
) -> tuple[dict[str, Interval], list[GroupSummary]]:
    """Return the weighted means, with 95 % intervals, of everybody and of each group with faces.

    Args:
        faces: N, of all runs.
        values: (N,) by metric.
        weights: (N,) with which each face counts.
    """
    codes, num_subjects = subject_codes(faces)
    num_groups = len(group_names()) + 1
    columns = [np.ones(len(weights)), *values.values()]
    entries = [
        (group * len(columns) + index, weights * column)
        for group in (*group_codes(faces), np.full(len(weights), num_groups - 1))
        for index, column in enumerate(columns)
    ]
    totals = sum_by_subject(entries, codes, (num_subjects, num_groups * len(columns)))
    found = bootstrap([totals], lambda drawn: _means(drawn, list(values)))
    groups = [
        GroupSummary(
            gender=gender,
            age=age,
            faces=num_faces,
            subjects=num_people,
            counts=num_faces >= MIN_FACES,
            values={metric: found[f"{index}/{metric}"] for metric in values},
        )
        for index, ((gender, age), (num_faces, num_people)) in enumerate(
            zip(group_names(), _sizes(faces, codes), strict=True)
        )
        if num_faces
    ]
    return {metric: found[f"{num_groups - 1}/{metric}"] for metric in values}, groups


def _means(totals: Floats, metrics: Sequence[str]) -> dict[str, Floats]:
    """Return the mean of each metric in each group, named `<group>/<metric>`."""
    num_groups = totals.shape[-1] // (1 + len(metrics))
    by_group = totals.reshape(*totals.shape[:-1], num_groups, 1 + len(metrics))
    return {
        f"{group}/{metric}": ratio(by_group[..., group, index], by_group[..., group, 0])
        for group in range(num_groups)
        for index, metric in enumerate(metrics, 1)
    }


def _sizes(faces: FaceInfo, codes: Ints) -> list[tuple[int, int]]:
    """Count the different faces and subjects (numbered by `codes`) of each group."""
    first = faces.first_of_rows
    of_faces, subject = group_codes(faces[first]), codes[first]
    sizes = []
    for group in range(len(group_names())):
        is_in = np.any([column == group for column in of_faces], axis=0)
        sizes.append((int(is_in.sum()), len(np.unique(subject[is_in]))))
    return sizes


def extremes(groups: Sequence[GroupSummary], metric: str) -> tuple[int | None, int | None]:
    """Return the indices of the worst and the best group, None where none is ranked."""
    ranked = [
        (group.values[metric].value, index) for index, group in enumerate(groups) if group.is_ranked
    ]
    if not ranked:
        return None, None
    low, high = min(ranked)[1], max(ranked)[1]
    return (high, low) if metric in LOWER_IS_BETTER else (low, high)
