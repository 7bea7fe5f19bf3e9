"""Verdicts on differences from the baselines."""

from dataclasses import replace

import pytest

from studies.comparisons import (
    BaselineSummary,
    BaselineValues,
    Comparison,
    RunSummary,
    SplitSummary,
    adjust,
    compare,
)
from studies.intervals import corrected_t_test
from studies.protocols import StudyPart

Runs = dict[tuple[int, int | None], float]


def compared(ours: Runs, theirs: float) -> list[Comparison]:
    judged = "val" if any(fold is None for _, fold in ours) else "test"
    runs = [RunSummary(*run, 0, {judged: {"accuracy": ours[run]}}) for run in ours]
    fits = [BaselineValues(*run, {"accuracy": theirs}) for run in ours]
    train, test = SplitSummary(400, 400.0, 400, 1, {}), SplitSummary(100, 100.0, 100, 1, {})
    baseline = BaselineSummary(**vars(test), runs=fits)
    splits = {"train": train, judged: test}
    return compare(StudyPart("gender", "d"), judged, runs, splits, {"majority": baseline})


def comparison(metric: str, p: float) -> Comparison:
    (found,) = compared({(0, None): 0.5}, 0.5)
    return replace(found, metric=metric, p=p, difference=-1.0)


def test_seeds_are_averaged_before_folds_are_compared() -> None:
    """However many seeds, five folds are five observations."""
    ours: Runs = {(seed, fold): 0.6 + 0.01 * fold for seed in range(5) for fold in range(5)}
    (found,) = compared(ours, 0.5)
    by_hand = corrected_t_test([0.1, 0.11, 0.12, 0.13, 0.14], 0.25)
    assert by_hand is not None
    assert (found.num_runs, found.num_pairs, found.degrees) == (25, 5, 4)
    assert found.t == pytest.approx(by_hand.t)
    assert found.difference == pytest.approx(0.12)


def test_without_folds_the_seeds_are_the_observations() -> None:
    (found,) = compared({(0, None): 0.6, (1, None): 0.7, (2, None): 0.65}, 0.5)
    assert (found.split, found.num_pairs, found.degrees) == ("val", 3, 2)


def test_one_run_is_not_tested() -> None:
    (found,) = adjust(compared({(0, None): 0.6}, 0.5))
    assert (found.p, found.t, found.verdict) == (None, None, "not tested")


def test_a_verdict_knows_which_way_a_metric_is_better() -> None:
    mae, accuracy = adjust([comparison("mae", 0.001), comparison("accuracy", 0.001)])
    assert (mae.verdict, accuracy.verdict) == ("better", "worse")


def test_a_difference_that_only_many_tests_find_is_not_called_one() -> None:
    chances = [0.03, 0.2, 0.4]
    found = adjust([comparison("mae", p) for p in chances])
    assert [one.verdict for one in found] == ["no difference shown"] * 3
    assert found[0].adjusted_p == pytest.approx(0.09)
