"""Reliability, error against uncertainty and error by age, against values by hand."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from study_folders import hand_made, make_scores

from studies.calibration import COVERAGES, error_by_age, reliability, risk_coverage, risk_curve
from studies.metrics import FaceScores, evaluate


def made(task: str, seed: int = 0) -> FaceScores:
    return make_scores(task, 900, seed)


def of_ages(expected: list[int], true: list[int]) -> FaceScores:
    return hand_made("age101", np.eye(101)[expected], true, age=true)


def test_reliability_is_that_of_scikit_learn() -> None:
    run = made("age8")
    bins = reliability(run)
    accuracy, confidence = calibration_curve(run.values["accuracy"], run.confidence, n_bins=15)
    assert [one.accuracy for one in bins] == pytest.approx(accuracy.tolist())
    assert [one.confidence for one in bins] == pytest.approx(confidence.tolist())


def test_the_bins_of_one_run_add_up_to_its_calibration_error() -> None:
    run = made("gender")
    bins = reliability(run)
    assert sum(one.share for one in bins) == pytest.approx(1)
    gaps = [one.share * abs(one.confidence - one.accuracy) for one in bins]
    assert sum(gaps) == pytest.approx(evaluate(run)["ece"])
    assert all(one.low < one.confidence <= one.high for one in bins)


def test_the_error_falls_as_the_uncertain_are_set_aside_by_hand() -> None:
    uncertainty = np.array([0.4, 0.1, 0.3, 0.2])
    error = np.array([1.0, 0.0, 1.0, 0.0])
    curve = dict(zip(COVERAGES.round(3).tolist(), risk_curve(uncertainty, error), strict=True))
    assert curve[0.25] == 0
    assert curve[0.5] == 0
    assert curve[0.75] == pytest.approx(1 / 3)
    assert curve[1.0] == 0.5


def test_equal_uncertainties_share_their_error_whatever_the_order() -> None:
    uncertainty = np.zeros(10)
    error: NDArray[np.float64] = np.arange(10.0)
    np.testing.assert_allclose(risk_curve(uncertainty, error), 4.5)
    np.testing.assert_allclose(risk_curve(uncertainty, error[::-1]), 4.5)


@pytest.mark.parametrize(("task", "metric"), [("age8", "mae"), ("age101", "mae")])
def test_with_all_faces_the_risk_is_the_error(task: str, metric: str) -> None:
    runs = [made(task, 1), made(task, 2)]
    found = risk_coverage(runs)
    values = [evaluate(run)[metric] for run in runs]
    assert found.coverage[-1] == 1
    assert found.risk[-1] == pytest.approx(np.mean(values))
    assert found.high[-1] - found.risk[-1] == pytest.approx(np.std(values))


def test_the_risk_of_gender_is_the_share_of_wrong_guesses() -> None:
    run = made("gender")
    found = risk_coverage([run])
    assert found.risk[-1] == pytest.approx(1 - evaluate(run)["accuracy"])
    assert found.risk[0] < found.risk[-1]
    assert found.unit == "share of wrong guesses"


def test_error_and_bias_by_age_by_hand() -> None:
    """Five faces of 20 to 24 years, five of 40 to 44; four of 60 are too few."""
    true = [20, 21, 22, 23, 24, 40, 41, 42, 43, 44, 60, 60, 60, 60]
    expected = [year + 2 for year in true[:5]] + [year - 4 for year in true[5:]]
    young, old = error_by_age([of_ages(expected, true)])
    assert [young.age, young.mae, young.bias] == pytest.approx([22, 2, 2])
    assert [old.age, old.mae, old.bias] == pytest.approx([42, 4, -4])
    assert young.faces == 5
    assert [young.low, young.high] == pytest.approx([2, 2])


def test_eight_classes_have_a_point_each_and_gender_none() -> None:
    assert [one.age for one in error_by_age([made("age8")])] == pytest.approx(
        [1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80]
    )
    assert error_by_age([made("gender")]) == []


def test_the_bars_are_the_spread_over_runs_and_faces_count_once() -> None:
    true = [20] * 6
    runs = [of_ages([22] * 6, true), of_ages([26] * 6, true)]
    (band,) = error_by_age(runs)
    assert [band.mae, band.low, band.high, band.faces] == pytest.approx([4, 2, 6, 6])
