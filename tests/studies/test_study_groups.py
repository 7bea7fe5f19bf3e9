"""Groups of gender and age: values by hand, the worst among those that are large enough."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score
from study_folders import hand_made, make_scores

from studies.groups import (
    MIN_FACES,
    ClassSummary,
    Fairness,
    GroupSummary,
    age_group_names,
    class_table,
    confusion,
    fairness,
    group_codes,
    group_names,
)
from studies.metrics import FaceScores, pool
from utils.labels import class_years


def made(task: str, seed: int = 0) -> FaceScores:
    return make_scores(task, 600, seed)


def of_genders(genders: str, ages: list[float], is_right: list[bool]) -> FaceScores:
    """Score guesses of gender, one subject a face."""
    label = np.array([int(gender == "f") for gender in genders])
    chances = np.eye(2)[np.where(is_right, label, 1 - label)]
    names = [str(n) for n in range(len(label))]
    return hand_made("gender", chances, label, age=ages, gender=list(genders), subject=names)


def extremes(found: Fairness) -> tuple[GroupSummary, GroupSummary]:
    """Return the worst and the best group."""
    assert found.worst is not None
    assert found.best is not None
    return found.groups[found.worst], found.groups[found.best]


def test_age_groups_are_named_by_the_years_nearest_to_their_centres() -> None:
    names = age_group_names()
    assert names == ["0-3", "4-7", "8-13", "14-23", "24-34", "35-45", "46-65", "66-100"]
    for name, centre in zip(names, class_years(8), strict=True):
        first, last = map(int, name.split("-"))
        assert first <= centre <= last


def test_every_face_is_in_one_group_of_gender_one_of_age_and_one_of_both() -> None:
    scores = of_genders("mf", [2, 40], [True, True])
    names = group_names()
    found = [[names[code[face]] for code in group_codes(scores.faces)] for face in (0, 1)]
    assert found == [
        [("male", "all"), ("all", "0-3"), ("male", "0-3")],
        [("female", "all"), ("all", "35-45"), ("female", "35-45")],
    ]


def test_values_and_counts_of_groups_by_hand() -> None:
    scores = of_genders("mmmff", [2, 2, 30, 30, 30], [True, False, True, False, False])
    found = {(one.gender, one.age): one for one in fairness([scores]).groups}
    values = {key: one.values["accuracy"].value for key, one in found.items()}
    assert values == {
        ("male", "all"): pytest.approx(2 / 3),
        ("female", "all"): 0.0,
        ("all", "0-3"): 0.5,
        ("all", "24-34"): pytest.approx(1 / 3),
        ("male", "0-3"): 0.5,
        ("male", "24-34"): 1.0,
        ("female", "24-34"): 0.0,
    }
    assert found["male", "all"].faces == 3
    assert found["male", "all"].subjects == 3


def test_the_worst_group_is_large_enough() -> None:
    """Women of 80 are all wrong, but too few to be ranked; men of 2 are wrong half of the time."""
    genders = "f" * (MIN_FACES - 1) + "m" * (2 * MIN_FACES)
    ages = [80.0] * (MIN_FACES - 1) + [2.0] * MIN_FACES + [30.0] * MIN_FACES
    is_right = [False] * (MIN_FACES - 1) + [n % 2 == 0 for n in range(MIN_FACES)]
    found = fairness([of_genders(genders, ages, is_right + [True] * MIN_FACES)])
    worst, best = extremes(found)
    assert (worst.gender, worst.age) == ("male", "0-3")
    assert (best.gender, best.age) == ("male", "24-34")
    small = [one for one in found.groups if not one.counts]
    assert {(one.gender, one.age) for one in small} == {
        ("female", "all"),
        ("all", "66-100"),
        ("female", "66-100"),
    }


def test_nobody_is_the_worst_of_too_few() -> None:
    found = fairness([of_genders("mf", [2, 40], [True, False])])
    assert (found.worst, found.best) == (None, None)


def test_of_errors_in_years_the_largest_is_the_worst() -> None:
    found = fairness([made("age8")])
    assert found.ranked_by == "mae"
    crossed = [
        one.values["mae"].value
        for one in found.groups
        if one.counts and "all" not in (one.gender, one.age)
    ]
    assert len(crossed) > 4
    worst, best = extremes(found)
    assert (worst.values["mae"].value, best.values["mae"].value) == (max(crossed), min(crossed))


@pytest.mark.parametrize("task", ["gender", "age8", "age101"])
def test_groups_agree_with_means_over_their_faces_in_all_runs(task: str) -> None:
    runs = [made(task, seed=1), made(task, seed=2)]
    found = fairness(runs)
    metric = found.ranked_by
    for one in found.groups:
        values = []
        for run in runs:
            is_in = np.ones(len(run), bool)
            if one.gender != "all":
                is_in &= run.faces.gender == one.gender[0]
            if one.age != "all":
                first, last = map(int, one.age.split("-"))
                is_in &= (run.faces.age >= first) & (run.faces.age <= last)
            values.append(run.values[metric][is_in])
        value = one.values[metric]
        assert value.value == pytest.approx(np.concatenate(values).mean())
        assert value.low is not None
        assert value.high is not None
        assert value.low <= value.value <= value.high
        assert one.faces == len(values[0])


@pytest.mark.parametrize("task", ["gender", "age8"])
def test_classes_and_confusion_are_those_of_scikit_learn(task: str) -> None:
    run = made(task)
    rows = class_table(run)
    recall = recall_score(run.label, run.predicted, average=None)
    precision = precision_score(run.label, run.predicted, average=None)
    assert [one.recall for one in rows] == pytest.approx(recall.tolist())
    assert [one.precision for one in rows] == pytest.approx(precision.tolist())
    assert [one.faces for one in rows] == np.bincount(run.label).tolist()
    np.testing.assert_array_equal(confusion(run), confusion_matrix(run.label, run.predicted))


def test_runs_add_up_in_the_confusion_but_their_faces_count_once() -> None:
    runs = [made("gender", seed=1), made("gender", seed=2)]
    assert confusion(pool(runs)).sum() == 2 * len(runs[0])
    assert sum(one.faces for one in class_table(pool(runs))) == len(runs[0])


def test_a_class_that_does_not_occur_has_no_share() -> None:
    rows = class_table(of_genders("mm", [2, 2], [True, True]))
    assert rows[1] == ClassSummary("female", faces=0, recall=None, precision=None)
