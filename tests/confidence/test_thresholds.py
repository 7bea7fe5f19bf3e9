from dataclasses import replace

import numpy as np
import pytest
from simulated_people import BOUNDS, fitted_age, simulated_ages

from confidence.age import AgeConfidence
from confidence.error_rates import DEMANDED, cross_fitted
from confidence.rows import JudgedRows
from confidence.thresholds import OverCalibration, over_by_class
from utils.labels import class_bounds


def log_loss(probabilities: np.ndarray, is_true: np.ndarray) -> float:
    right = np.where(is_true, probabilities, 1 - probabilities)
    return float(-np.log(np.maximum(right, 1e-4)).mean())


def test_calibrated_probabilities_are_better_on_other_people_than_those_of_the_network() -> None:
    confidence = AgeConfidence.fit(simulated_ages(800, 0, sharpness=4.0), BOUNDS)
    new = simulated_ages(2000, 1, sharpness=4.0)
    thresholds = np.array([13, 16, 18, 21, 25])
    is_over = new.labels[:, None] >= thresholds
    raw = new.probabilities @ over_by_class(BOUNDS, thresholds)
    calibrated = confidence.over(new.probabilities, thresholds)
    assert log_loss(calibrated, is_over) < 0.95 * log_loss(raw, is_over)


def test_of_those_called_over_with_a_probability_that_share_is() -> None:
    confidence, new = fitted_age(2000), simulated_ages(8000, 1)
    probability = confidence.over(new.probabilities, [25])[:, 0]
    is_over = new.labels >= 25
    for low, high in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9)):
        is_here = (probability >= low) & (probability < high)
        assert is_over[is_here].mean() == pytest.approx(probability[is_here].mean(), abs=0.08)


def test_nobody_is_over_a_higher_age_more_probably() -> None:
    for classes in (8, 101):
        rng = np.random.default_rng(0)
        probabilities = rng.dirichlet(np.full(classes, 0.2), 300)
        labels = (probabilities.cumsum(1) < rng.random((300, 1))).sum(1)
        rows = JudgedRows(probabilities, labels, np.arange(300))
        confidence = AgeConfidence.fit(rows, class_bounds(classes))
        over = confidence.over(probabilities, np.arange(1, 101))
        assert (np.diff(over, axis=1) <= 0).all()
        assert ((over > 0) & (over < 1)).all()


def test_within_a_class_all_years_are_equally_probable() -> None:
    shares = over_by_class(class_bounds(8).astype(np.float64), [3, 15, 16, 20, 21, 24, 61, 101])
    assert shares[0].tolist() == [0] * 8
    assert shares[3].tolist() == pytest.approx([1, 1, 5 / 6, 1 / 6, 0, 0, 0, 0])
    assert shares[7].tolist() == pytest.approx([1, 1, 1, 1, 1, 1, 40 / 41, 0])


def test_a_network_that_is_right_is_left_as_it_is() -> None:
    calibration = OverCalibration.fit(simulated_ages(6000, 0, sharpness=1.0), BOUNDS)
    assert calibration is not None
    assert calibration.slope == pytest.approx(1, abs=0.1)
    assert calibration.intercept == pytest.approx(0, abs=0.1)


def test_a_network_that_is_too_sure_gets_less_extreme() -> None:
    calibration = OverCalibration.fit(simulated_ages(6000, 0, sharpness=4.0), BOUNDS)
    assert calibration is not None
    assert calibration.slope < 0.7


def test_a_network_that_is_wrong_is_not_turned_round() -> None:
    bounds = np.array([[0.0, 17.0], [18.0, 100.0]])
    adult = np.random.default_rng(0).random(500)
    probabilities = np.stack([1 - adult, adult], 1)
    labels = (adult < 0.5).astype(np.int64)
    wrong = JudgedRows(probabilities, labels, np.arange(500))
    assert OverCalibration.fit(wrong, bounds) is None
    assert np.isnan(AgeConfidence.fit(wrong, bounds).over(probabilities, [18])).all()


def test_people_of_one_age_calibrate_nothing() -> None:
    rows = simulated_ages(500, 0)
    children = JudgedRows(rows.probabilities, np.zeros_like(rows.labels), rows.people)
    assert OverCalibration.fit(children, BOUNDS) is None
    assert AgeConfidence.fit(children, BOUNDS).error_rates == []


def test_error_rates_are_shares_of_people_on_each_side() -> None:
    """Counted by hand for the demanded probabilities of 18 years."""
    rows = simulated_ages(800, 0)
    (rates,) = (rate for rate in fitted_age().error_rates if rate.threshold == 18)
    over = cross_fitted(rows, BOUNDS)
    assert over is not None
    probability = over[:, 2]
    under, old = rows.part(rows.labels < 18), rows.part(rows.labels >= 18)
    assert rates.num_faces_under == len(under.labels)
    assert rates.num_people_under == len(set(under.people.tolist()))
    assert rates.num_faces_over + rates.num_faces_under == len(rows.labels)
    for demanded, passed, refused in zip(
        DEMANDED, rates.by_probability.passed_under, rates.by_probability.refused_over, strict=True
    ):
        is_passed = probability >= demanded
        young_passed = np.average(is_passed[rows.labels < 18], weights=under.weights)
        old_refused = np.average(~is_passed[rows.labels >= 18], weights=old.weights)
        assert (passed, refused) == pytest.approx((young_passed, old_refused))


def test_who_demands_more_passes_fewer_of_either_side() -> None:
    for rates in fitted_age().error_rates:
        for curve in (rates.by_probability, rates.by_expected_age):
            assert curve.passed_under == sorted(curve.passed_under, reverse=True)
            assert curve.refused_over == sorted(curve.refused_over)
        ages = [(near.from_age, near.to_age) for near in rates.by_true_age]
        assert ages == sorted(ages)
        passed = [near.passed[0] for near in rates.by_true_age]
        assert passed[0] < passed[-1]


def test_the_calibration_that_judges_people_has_not_seen_them() -> None:
    """What is said of a person stays the same when their own true age changes."""
    rows = simulated_ages(200, 0)
    before = cross_fitted(rows, BOUNDS)
    is_person = rows.people == 7
    changed = JudgedRows(rows.probabilities, np.where(is_person, 99, rows.labels), rows.people)
    after = cross_fitted(changed, BOUNDS)
    assert before is not None
    assert after is not None
    assert np.array_equal(before[is_person], after[is_person])
    assert not np.array_equal(before, after)


def test_an_age_within_a_class_has_no_error_rates() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(8, 0.5), 900)
    labels = (probabilities.cumsum(1) < rng.random((900, 1))).sum(1)
    rows = JudgedRows(probabilities, labels, np.arange(900))
    rates = AgeConfidence.fit(rows, class_bounds(8)).error_rates
    assert [rate.threshold for rate in rates] == [13, 21, 25]


def test_few_people_on_one_side_have_no_error_rates() -> None:
    rows = simulated_ages(800, 0)
    few = set(rows.people[rows.labels < 18][:1].tolist())
    is_kept = (rows.labels >= 18) | np.isin(rows.people, list(few))
    rates = AgeConfidence.fit(rows.part(is_kept), BOUNDS).error_rates
    assert 18 not in [rate.threshold for rate in rates]


def test_ages_known_as_groups_of_adience_do_not_count_where_others_are_known_to_the_year() -> None:
    confidence, rows = fitted_age(), simulated_ages(400, 5)
    in_groups = rows.people < 100
    found = confidence.errors_of(replace(rows, in_groups=in_groups))
    assert found == confidence.errors_of(rows.part(~in_groups))
    assert found != confidence.errors_of(rows)


def test_where_all_ages_are_groups_of_adience_no_errors_are_counted_within_a_group() -> None:
    rows = simulated_ages(400, 5)
    everybody = replace(rows, in_groups=np.ones(len(rows.labels), np.bool_))
    found = fitted_age().errors_of(everybody)
    assert [errors.threshold for errors in found] == [13, 21, 25]
