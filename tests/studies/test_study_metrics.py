"""Metrics of predictions against scikit-learn, torch and tables made by hand."""

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss
from study_folders import face_info, hand_made, make_columns, make_predictions

from model import metric as torch_metrics
from studies.metrics import evaluate, metrics_from_totals, score, subject_codes, subject_totals
from studies.predictions import Predictions
from studies.protocols import TASKS


def predictions(task: str, num_faces: int = 400, seed: int = 0) -> Predictions:
    return make_predictions(make_columns(num_faces, seed=seed), task, skill=1.0, seed=seed)


def by_hand(chances: list[list[float]], label: list[int], task: str) -> dict[str, float]:
    return evaluate(hand_made(task, chances, label))


def one_hot(classes: list[int], num_classes: int) -> list[list[float]]:
    return [[float(one == other) for other in range(num_classes)] for one in classes]


@pytest.mark.parametrize("task", TASKS)
def test_accuracies_and_brier_score_are_those_of_scikit_learn(task: str) -> None:
    made = predictions(task)
    found = evaluate(score(made, task))
    guessed = made.probabilities.argmax(1)
    chances = made.probabilities.astype(np.float64)
    chances /= chances.sum(1, keepdims=True)
    assert found["accuracy"] == pytest.approx(accuracy_score(made.label, guessed))
    assert found["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(made.label, guessed)
        if task != "age101"
        else np.mean([np.mean(guessed[made.label == c] == c) for c in np.unique(made.label)])
    )
    brier = brier_score_loss(
        made.label, chances, labels=np.arange(TASKS[task].num_classes), scale_by_half=False
    )
    assert found["brier"] == pytest.approx(brier, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "ours", "theirs"),
    [
        ("gender", "accuracy", "accuracy"),
        *(("age8", name, name) for name in ("accuracy", "one_off_accuracy", "mae", "cs5")),
        *(
            ("age101", name, name)
            for name in ("accuracy", "accuracy_relaxed", "one_off_accuracy", "mae", "cs5")
        ),
    ],
)
def test_metrics_agree_with_those_of_training(task: str, ours: str, theirs: str) -> None:
    made = predictions(task, seed=3)
    logits = torch.from_numpy(np.log(made.probabilities))
    value = getattr(torch_metrics, theirs)(logits, torch.from_numpy(made.label))
    assert evaluate(score(made, task))[ours] == pytest.approx(value.item(), rel=1e-4)


def test_gender_by_hand() -> None:
    found = by_hand([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]], [0, 0, 1, 1], "gender")
    assert found["accuracy"] == 0.5
    assert found["balanced_accuracy"] == 0.5
    assert found["brier"] == pytest.approx(2 * (0.01 + 0.36 + 0.49 + 0.04) / 4)
    # bins of 1/15: 0.9 -> 13, 0.6 -> 8, 0.7 -> 10, 0.8 -> 11; each face alone in its bin
    assert found["ece"] == pytest.approx((0.1 + 0.6 + 0.7 + 0.2) / 4)


def test_calibration_error_of_shared_bins_by_hand() -> None:
    chances = [[0.95, 0.05]] * 4 + [[0.55, 0.45]] * 2
    found = by_hand(chances, [0, 0, 0, 1, 0, 1], "gender")
    assert found["ece"] == pytest.approx((4 * abs(0.95 - 0.75) + 2 * abs(0.55 - 0.5)) / 6)


def test_calibration_error_agrees_with_a_loop_over_the_bins() -> None:
    made = predictions("age8", 2000)
    top, right = made.probabilities.max(1), made.probabilities.argmax(1) == made.label
    expected = 0.0
    for place in range(15):
        is_in = (top > place / 15) & (top <= (place + 1) / 15)
        if is_in.any():
            expected += is_in.mean() * abs(top[is_in].mean() - right[is_in].mean())
    assert evaluate(score(made, "age8"))["ece"] == pytest.approx(expected, rel=1e-5)


def test_ages_in_eight_classes_by_hand() -> None:
    found = by_hand(one_hot([0, 2, 7, 4], 8), [0, 1, 4, 4], "age8")
    assert found["accuracy"] == 0.5
    assert found["one_off_accuracy"] == 0.75
    assert found["balanced_accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["mae"] == pytest.approx((0 + 5 + 51.5 + 0) / 4)
    assert found["cs5"] == 0.75  # an error of exactly five years is near


def test_an_age_between_two_centres_belongs_to_the_younger_group() -> None:
    """3 is as near to 1 as to 5, and 23 to 17.5 as to 28.5; 3 to 4 is one group away, to 8 two."""
    found = by_hand(one_hot([4, 8, 23, 24], 101), [3, 3, 13, 13], "age101")
    assert found["one_off_accuracy"] == 0.5
    assert found["accuracy_relaxed"] == 0.25  # 4 and 3 alone: the original's groups begin at 3, 7


def test_expected_years_are_not_the_most_probable_ones() -> None:
    chances = np.zeros((1, 101))
    chances[0, [20, 30]] = 0.6, 0.4
    found = by_hand(chances.tolist(), [24], "age101")
    assert (found["accuracy"], found["cs5"]) == (0, 1)
    assert found["mae"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_scores_in_chunks_are_the_same(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = predictions(task)
    whole = evaluate(score(made, task))
    monkeypatch.setattr("studies.metrics.CHUNK_ROWS", 7)
    assert evaluate(score(made, task)) == whole


@pytest.mark.parametrize("task", TASKS)
def test_a_subject_drawn_twice_is_the_same_as_its_faces_twice(task: str) -> None:
    made = predictions(task)
    scores = score(made, task)
    codes, num_subjects = subject_codes(scores.faces)
    weights = np.ones(num_subjects)
    weights[3] = 2
    twice = np.concatenate([np.arange(len(made.label)), np.flatnonzero(codes == 3)])
    repeated = made[twice]
    found = metrics_from_totals(task, weights @ subject_totals(scores, codes, num_subjects))
    expected = evaluate(score(repeated, task))
    assert {name: float(value) for name, value in found.items()} == pytest.approx(expected)


def test_metrics_of_no_face_are_not_numbers() -> None:
    sums = subject_totals(hand_made("age8", one_hot([0], 8), [0]), np.array([0]), 1)
    found = metrics_from_totals("age8", np.zeros(sums.shape[1]))
    assert list(found) == list(TASKS["age8"].metrics)
    assert all(np.isnan(value) for value in found.values())


def test_a_subject_has_one_number_in_all_runs_and_the_unknown_one_a_face() -> None:
    both = face_info([0, 1, 4, 4, 5, 2, 1], ["ann", "bob", "", "", "", "ann", "bob"])
    codes, num_subjects = subject_codes(both)
    assert num_subjects == 4
    first, second = codes[:3].tolist(), codes[3:].tolist()
    assert first == [second[2], second[3], second[0]]
    assert len({*first, *second}) == 4
