import numpy as np
import pytest
from scipy.stats import binomtest
from simulated_people import (
    fitted_age,
    fitted_gender,
    is_covered,
    share_of_people,
    simulated_ages,
    simulated_genders,
)

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.measured import MeasuredCoverage, measure_ages, measure_genders
from confidence.rows import JudgedRows


def test_coverage_and_width_are_means_over_people() -> None:
    confidence, new = fitted_age(), simulated_ages(300, 1)
    found = measure_ages(confidence, new, 0.8)
    assert found.intervals is not None
    assert found.intervals.num_people == 300
    assert found.intervals.coverage == share_of_people(is_covered(confidence, new, 0.8), new)
    low, high = confidence.intervals(new.probabilities, new.genders, 0.8).T
    assert found.mean_years == pytest.approx(np.average(high - low + 1, weights=new.weights))
    assert [rates.threshold for rates in found.error_rates] == [13, 16, 18, 21, 25]
    is_young = new.labels < 18
    over = confidence.over(new.probabilities, [18])[:, 0]
    passed = np.average(over[is_young] >= 0.9, weights=new.part(is_young).weights)
    assert found.error_rates[2].by_probability.passed_under[4] == pytest.approx(passed)


@pytest.mark.parametrize(("num_held", "num_people"), [(0, 10), (90, 100), (411, 500), (7, 7)])
def test_one_picture_a_person_has_the_interval_of_wilson(num_held: int, num_people: int) -> None:
    rows = JudgedRows(
        np.ones((num_people, 2)) / 2, np.zeros(num_people, np.int64), np.arange(num_people)
    )
    found = MeasuredCoverage.of(np.arange(num_people) < num_held, rows, 0.9, 100)
    expected = binomtest(num_held, num_people).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_people_of_the_same_world_break_no_promise() -> None:
    for seed in range(1, 6):
        found = measure_ages(fitted_age(), simulated_ages(500, seed))
        assert found.intervals is not None
        assert not found.intervals.is_too_low


def test_people_of_another_world_are_noticed() -> None:
    found = measure_ages(fitted_age(), simulated_ages(500, 1, shift_years=8))
    assert found.intervals is not None
    assert found.intervals.is_too_low


def test_few_people_are_no_proof_that_the_promise_is_broken() -> None:
    """Two of ten are missed where one was expected."""
    rows = simulated_ages(10, 1)
    held = rows.people < 8
    assert not MeasuredCoverage.of(held, rows, 0.9, 1000).is_too_low
    assert MeasuredCoverage.of(held, rows, 0.9, 1000).coverage == pytest.approx(0.8)


def test_sets_are_counted_by_their_size() -> None:
    confidence, new = fitted_gender(), simulated_genders(1000, 1)
    found = measure_genders(confidence, new, 0.9)
    sets = confidence.sets(new.probabilities, 0.9)
    held = sets[np.arange(1000), new.labels]
    is_single = sets.sum(1) == 1
    assert found.sets is not None
    assert found.sets.coverage == pytest.approx(held.mean())
    assert found.single_share == pytest.approx(is_single.mean())
    assert found.single_coverage == pytest.approx(held[is_single].mean())
    assert not found.sets.is_too_low


def test_genders_that_are_swapped_are_noticed() -> None:
    rows = simulated_genders(500, 1)
    swapped = JudgedRows(rows.probabilities, 1 - rows.labels, rows.people)
    found = measure_genders(fitted_gender(), swapped)
    assert found.sets is not None
    assert found.sets.is_too_low


def test_what_was_not_promised_is_not_measured() -> None:
    few = simulated_ages(5, 0)
    ages = measure_ages(AgeConfidence.fit(few, np.array(fitted_age().bounds)), few)
    assert (ages.intervals, ages.mean_years, ages.error_rates) == (None, None, [])
    rows = simulated_genders(5, 0)
    genders = measure_genders(GenderConfidence.fit(rows), rows)
    assert (genders.sets, genders.single_share, genders.single_coverage) == (None, None, None)
