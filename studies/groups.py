"""Fairness: how well the networks serve men and women, the age groups, and their cross."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from studies.intervals import bootstrap
from studies.metrics import LOWER_IS_BETTER, Floats, Identity, Ints, Scores
from studies.results import NUM_CLASSES
from studies.sums import ratio, subject_codes, sum_by_subject
from utils.labels import ages_to_classes

GENDERS = {"m": "male", "f": "female"}
NUM_AGE_GROUPS = 8
MIN_FACES = 30
"""A smaller group is shown, but neither worst nor best: its value is chance."""

GROUP_METRICS = {
    "gender": ("accuracy",),
    "age8": ("accuracy", "one_off_accuracy", "mae"),
    "age101": ("accuracy_relaxed", "one_off_accuracy", "mae"),
}
"""What each task's groups are measured by; the last one ranks them."""


def age_group_names() -> list[str]:
    """Name the eight groups by the whole years that are nearest to their centres.

    >>> age_group_names()[:3], age_group_names()[-1]
    (['0-3', '4-7', '8-13'], '66-100')
    """
    groups = ages_to_classes(np.arange(101), NUM_AGE_GROUPS)
    years = [np.flatnonzero(groups == group) for group in range(NUM_AGE_GROUPS)]
    return [f"{of_group[0]}-{of_group[-1]}" for of_group in years]


def class_names(task: str) -> list[str]:
    """Name the classes of a task.

    >>> class_names("gender")
    ['male', 'female']
    """
    if task == "gender":
        return list(GENDERS.values())
    return age_group_names() if task == "age8" else [str(year) for year in range(101)]


def group_names() -> list[tuple[str, str]]:
    """Name (gender, age group) of all groups; "all" stands for both genders, or every age."""
    ages = age_group_names()
    genders = list(GENDERS.values())
    return [
        *((gender, "all") for gender in genders),
        *(("all", age) for age in ages),
        *((gender, age) for gender in genders for age in ages),
    ]


def group_codes(faces: Identity) -> list[Ints]:
    """Number the three groups of `group_names` that each face is in: gender, age, and both."""
    gender = np.select([faces.gender == key for key in GENDERS], range(len(GENDERS)), -1)
    age = ages_to_classes(faces.age, NUM_AGE_GROUPS)
    of_age = len(GENDERS) + age
    of_both = len(GENDERS) + NUM_AGE_GROUPS + gender * NUM_AGE_GROUPS + age
    return [gender, of_age, of_both]


def fairness(runs: Sequence[Scores]) -> dict[str, Any]:
    """Measure every group, with 95 % intervals, and name the worst.

    Runs are pooled: a group's value is the mean over all its predictions, so that a fold with few
    of its faces weighs little. Groups of fewer than 30 faces are never the worst.

    Returns:
        {"metrics": names, "ranked_by": name, "groups": [{"gender", "age", "faces", "subjects",
        "counts": enough faces?, "values": {metric: {"value", "low", "high"}}}], "worst": index or
        None, "best": index or None} of groups of the cross.
    """
    metrics = GROUP_METRICS[runs[0].task]
    codes, num_subjects = subject_codes([run.faces for run in runs])
    shape = (num_subjects, len(group_names()) * _stride(metrics))
    pooled = sum(
        sum_by_subject(_entries(run, metrics), code, shape)
        for run, code in zip(runs, codes, strict=True)
    )
    found = bootstrap([pooled], lambda totals: _ratios(totals, metrics))
    groups = [
        {
            "gender": gender,
            "age": age,
            "faces": num_faces,
            "subjects": num_people,
            "counts": num_faces >= MIN_FACES,
            "values": {metric: vars(found[f"{place}/{metric}"]) for metric in metrics},
        }
        for place, ((gender, age), (num_faces, num_people)) in enumerate(
            zip(group_names(), _sizes(runs, codes), strict=True)
        )
        if num_faces
    ]
    extremes = _extremes(groups, metrics[-1])
    return {"metrics": list(metrics), "ranked_by": metrics[-1], "groups": groups} | extremes


def _ratios(totals: Floats, metrics: Sequence[str]) -> dict[str, Floats]:
    """Give the mean of each metric in each group, named `<group>/<metric>`."""
    by_group = totals.reshape(*totals.shape[:-1], len(group_names()), _stride(metrics))
    return {
        f"{group}/{metric}": ratio(by_group[..., group, 1 + place], by_group[..., group, 0])
        for group in range(len(group_names()))
        for place, metric in enumerate(metrics)
    }


def _stride(metrics: Sequence[str]) -> int:
    return 1 + len(metrics)


def _entries(run: Scores, metrics: Sequence[str]) -> list[tuple[Ints, Floats]]:
    """Pair columns and values: for each group of a face one column that counts, one a metric."""
    values = [np.ones(len(run)), *(run.values[metric] for metric in metrics)]
    return [
        (group * _stride(metrics) + place, value)
        for group in group_codes(run.faces)
        for place, value in enumerate(values)
    ]


def _sizes(runs: Sequence[Scores], codes: Sequence[Ints]) -> list[tuple[int, int]]:
    """Count the different faces and subjects of each group, over all runs."""
    _, first = np.unique(np.concatenate([run.faces.row for run in runs]), return_index=True)
    subject = np.concatenate(list(codes))[first]
    of_faces = [
        np.concatenate(columns)[first]
        for columns in zip(*(group_codes(run.faces) for run in runs), strict=True)
    ]
    sizes = []
    for group in range(len(group_names())):
        is_in = np.any([column == group for column in of_faces], axis=0)
        sizes.append((int(is_in.sum()), len(np.unique(subject[is_in]))))
    return sizes


def _extremes(groups: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    crossed = [
        (group["values"][metric]["value"], place)
        for place, group in enumerate(groups)
        if group["counts"] and "all" not in (group["gender"], group["age"])
    ]
    if not crossed:
        return {"worst": None, "best": None}
    low, high = min(crossed)[1], max(crossed)[1]
    worst, best = (high, low) if metric in LOWER_IS_BETTER else (low, high)
    return {"worst": worst, "best": best}


def class_table(runs: Sequence[Scores]) -> list[dict[str, Any]]:
    """Give accuracy within each true class (recall) and share of right guesses of it (precision).

    Runs are pooled.

    Returns:
        one {"name", "faces", "recall", "precision"} a class, shares None where nothing counts.
    """
    matrix = confusion(runs)
    hits = np.diag(matrix)
    faces = _faces_by_class(runs)
    return [
        {
            "name": name,
            "faces": faces[place],
            "recall": _share(hits[place], matrix[place].sum()),
            "precision": _share(hits[place], matrix[:, place].sum()),
        }
        for place, name in enumerate(class_names(runs[0].task))
    ]


def _share(part: int, whole: int) -> float | None:
    return float(part / whole) if whole else None


def _faces_by_class(runs: Sequence[Scores]) -> list[int]:
    row = np.concatenate([run.faces.row for run in runs])
    label = np.concatenate([run.label for run in runs])
    _, first = np.unique(row, return_index=True)
    return [int(n) for n in np.bincount(label[first], minlength=NUM_CLASSES[runs[0].task])]


def confusion(runs: Sequence[Scores]) -> Ints:
    """Count the predictions of all runs, (true class, predicted class)."""
    size = NUM_CLASSES[runs[0].task]
    cells = sum(
        np.bincount(run.label * size + run.predicted, minlength=size * size) for run in runs
    )
    return np.asarray(cells, np.int64).reshape(size, size)
