import json
import math

import numpy as np
import pytest
from simulated_people import BOUNDS, fitted_age, is_covered, share_of_people, simulated_ages

from confidence.age import AgeConfidence, GroupRadii
from confidence.conformal import radii_of
from confidence.rows import JudgedRows
from utils.labels import AgeClasses, class_bounds

THRESHOLDS = np.arange(1, 101)


def standard_error(level: float, *nums_people: int) -> float:
    """Return the binomial error of a coverage that is fitted on some people, seen on others."""
    return math.sqrt(level * (1 - level) * sum(1 / num for num in nums_people))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("sharpness", [0.5, 3.0])
def test_intervals_hold_the_true_age_as_often_as_the_level_says(
    level: float, sharpness: float
) -> None:
    """Although the network is too unsure, or too sure, of what it says."""
    confidence = AgeConfidence.fit(simulated_ages(1000, 0, sharpness), BOUNDS)
    new = simulated_ages(4000, 1, sharpness)
    coverage = share_of_people(is_covered(confidence, new, level), new)
    error = standard_error(level, 1000, 4000)
    one_year_more = 0.03  # a whole year has a few percent of the mass
    assert level - 3 * error < coverage < level + 3 * error + one_year_more


def test_people_of_another_world_are_held_less_often() -> None:
    shifted = simulated_ages(1000, 1, shift_years=8)
    coverage = share_of_people(is_covered(fitted_age(), shifted, 0.9), shifted)
    assert coverage < 0.9 - 3 * standard_error(0.9, 800, 1000)


def test_intervals_are_wider_where_the_network_is_unsure() -> None:
    low, high = fitted_age().intervals(two_faces(narrow=2.0, wide=8.0)).T
    narrow, wide = high - low
    assert wide > 2 * narrow


def two_faces(narrow: float, wide: float) -> np.ndarray:
    spread = np.array([narrow, wide])[:, None]
    probabilities = np.exp(-0.5 * ((np.arange(101) - 40) / spread) ** 2)
    return np.asarray(probabilities / probabilities.sum(1, keepdims=True))


def test_intervals_grow_with_the_level_and_hold_the_median() -> None:
    confidence, faces = fitted_age(), simulated_ages(200, 3)
    cumulated = faces.probabilities.astype(np.float64).cumsum(1)
    median = (cumulated < 0.5).sum(1)
    before = np.stack([median, median], 1).astype(float)
    for level in np.arange(0.02, 0.995, 0.01):
        intervals = confidence.intervals(faces.probabilities, faces.genders, float(level))
        assert (intervals[:, 0] <= before[:, 0]).all()
        assert (intervals[:, 1] >= before[:, 1]).all()
        before = intervals


@pytest.mark.parametrize("classes", [8, 101, ((0, 9), (10, 17), (18, 29), (30, 99))])
def test_intervals_are_whole_years_within_the_classes(classes: AgeClasses) -> None:
    bounds = class_bounds(classes)
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(len(bounds), 0.3), 400)
    labels = (probabilities.cumsum(1) < rng.random((400, 1))).sum(1)
    confidence = AgeConfidence.fit(JudgedRows(probabilities, labels, np.arange(400)), bounds)
    low, high = confidence.intervals(probabilities, level=0.9).T
    assert set(low) <= set(bounds[:, 0].tolist())
    assert set(high) <= set(bounds[:, 1].tolist())
    held = (low <= bounds[labels, 0]) & (bounds[labels, 1] <= high)
    assert held.mean() >= 0.9


def test_a_group_has_radii_of_its_own_where_people_suffice() -> None:
    """The network is right of the young and far too sure of the old."""
    young, old = simulated_ages(3000, 4, sharpness=1.0), simulated_ages(3000, 5, sharpness=6.0)
    parts = [young.part(young.labels < 30), old.part(old.labels >= 50)]
    mixed = JudgedRows(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([10_000 * index + part.people for index, part in enumerate(parts)]),
    )
    is_new = mixed.people % 2 == 0
    confidence = AgeConfidence.fit(mixed.part(~is_new), BOUNDS)
    new = mixed.part(is_new)
    held = is_covered(confidence, new, 0.9)
    for is_here in (new.labels < 30, new.labels >= 50):
        coverage = share_of_people(held[is_here], new.part(is_here))
        assert abs(coverage - 0.9) < 0.05
    together = confidence.model_copy(update={"groups": []})
    is_old = new.labels >= 50
    assert share_of_people(is_covered(together, new, 0.9)[is_old], new.part(is_old)) < 0.85


def test_the_genders_of_a_group_are_told_apart_where_people_suffice() -> None:
    rows = simulated_ages(8000, 0)
    groups = AgeConfidence.fit(rows, BOUNDS).groups
    assert {group.gender for group in groups} == {None, 0, 1}
    assert {group.gender for group in fitted_age().groups} == {None}
    expected = rows.probabilities.astype(np.float64) @ np.arange(101)
    women = next(group for group in groups if group.gender == 1)
    assert_holds_what_it_is_of(women, rows, expected)


def assert_holds_what_it_is_of(group: GroupRadii, rows: JudgedRows, expected: np.ndarray) -> None:
    assert rows.genders is not None
    held = group.holds(expected, rows.genders)
    assert (rows.genders[held] == 1).all()
    assert not group.holds(expected, None).any()
    cumulated = rows.probabilities.cumsum(1, dtype=np.float64) - rows.probabilities / 2
    scores = np.abs(cumulated[np.arange(len(rows.labels)), rows.labels] - 0.5)
    assert group.radii == radii_of(scores[held], rows.part(held))
    assert group.num_people == rows.part(held).num_people


def test_few_people_give_no_interval_and_no_probability() -> None:
    rows = simulated_ages(8, 0)
    confidence = AgeConfidence.fit(rows, BOUNDS)
    assert np.isnan(confidence.intervals(rows.probabilities, level=0.9)).all()
    assert not np.isnan(confidence.intervals(rows.probabilities, level=0.8)).any()
    assert np.isnan(confidence.over(rows.probabilities, [18])).all()
    assert confidence.error_rates == []


def test_no_faces_are_no_intervals() -> None:
    confidence = fitted_age()
    nobody = np.empty((0, 101), np.float32)
    assert confidence.intervals(nobody).shape == (0, 2)
    assert confidence.over(nobody, [18, 25]).shape == (0, 2)


@pytest.mark.parametrize("num_classes", [8, 102])
def test_probabilities_of_other_classes_are_refused(num_classes: int) -> None:
    with pytest.raises(ValueError, match="expected one for each of 101 classes"):
        fitted_age().intervals(np.ones((2, num_classes)) / num_classes)


def test_it_is_equal_after_json_and_so_are_its_answers() -> None:
    confidence, faces = fitted_age(), simulated_ages(50, 3)
    again = AgeConfidence.from_checkpoint(
        {"confidence": json.loads(json.dumps(confidence.to_plain()))}
    )
    assert again == confidence
    assert again is not None
    for level in (0.5, 0.9):
        one, other = (x.intervals(faces.probabilities, level=level) for x in (confidence, again))
        assert np.array_equal(one, other)
    one, other = (x.over(faces.probabilities, [18]) for x in (confidence, again))
    assert np.array_equal(one, other)


def test_the_same_rows_give_the_same_bits() -> None:
    rows = simulated_ages(800, 0)
    assert AgeConfidence.fit(rows, BOUNDS).to_plain() == fitted_age().to_plain()
