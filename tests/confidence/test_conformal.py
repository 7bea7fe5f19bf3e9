import math

import numpy as np
import pytest
from simulated_people import fitted_age, simulated_ages

from confidence.conformal import LEVELS, radii_of, radius_at
from confidence.rows import JudgedRows


def rows_of(people: list[int]) -> JudgedRows:
    labels = np.zeros(len(people), np.int64)
    return JudgedRows(np.ones((len(people), 2)) / 2, labels, np.array(people))


@pytest.mark.parametrize("num_people", [5, 9, 50, 199])
def test_one_picture_a_person_gives_the_textbook_quantile(num_people: int) -> None:
    scores = np.random.default_rng(num_people).random(num_people)
    radii = radii_of(scores, rows_of(list(range(num_people))))
    for percent, radius in zip(range(50, 100), radii, strict=True):
        rank = math.ceil(percent * (num_people + 1) / 100)
        assert radius == (sorted(scores)[rank - 1] if rank <= num_people else None)


def test_ninety_percent_needs_nine_people() -> None:
    for num_people, is_known in ((8, False), (9, True)):
        radii = radii_of(np.arange(num_people) / 10, rows_of(list(range(num_people))))
        assert (radii[LEVELS.index(0.9)] is not None) == is_known


def test_many_pictures_of_one_person_count_as_one_person() -> None:
    """Ninety-nine people whose answers are usual, and a thousand unusual pictures of another."""
    people = [*range(99), *[99] * 1000]
    scores = np.array([0.1] * 99 + [0.5] * 1000)
    radii = radii_of(scores, rows_of(people))
    assert radii[LEVELS.index(0.97)] == 0.1
    assert radii[LEVELS.index(0.99)] == 0.5


def test_a_level_between_two_is_answered_as_the_higher() -> None:
    radii = fitted_age().radii
    assert radius_at(radii, 0.901) == radius_at(radii, 0.91)
    assert radius_at(radii, 0.2) == radius_at(radii, 0.5)
    assert math.isnan(radius_at(radii, 0.995))


@pytest.mark.parametrize("level", [0, 1, -0.5, 90, float("nan")])
def test_a_level_that_is_no_share_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        radius_at(fitted_age().radii, level)


def test_each_person_has_the_same_weight() -> None:
    rows = simulated_ages(20, seed=1)
    assert np.allclose(np.bincount(rows.people, rows.weights), 1)
