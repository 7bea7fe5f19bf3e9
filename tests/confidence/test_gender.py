import json
import math

import numpy as np
import pytest
from simulated_people import fitted_gender, simulated_genders

from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_sets_hold_the_gender_of_men_and_of_women_as_often_as_the_level_says(level: float) -> None:
    new = simulated_genders(8000, 1)
    sets = fitted_gender(2000).sets(new.probabilities, level)
    for gender in (0, 1):
        held = sets[new.labels == gender, gender]
        error = math.sqrt(level * (1 - level) * (1 / 1000 + 1 / len(held)))
        assert held.mean() > level - 3 * error
    is_of_both = sets.all(axis=1)
    assert 0 < is_of_both.mean() < 0.6


def test_the_more_probable_gender_is_in_every_set_and_sets_grow_with_the_level() -> None:
    confidence, faces = fitted_gender(), simulated_genders(200, 1)
    before = confidence.sets(faces.probabilities, 0.5)
    assert before[np.arange(200), faces.probabilities.argmax(1)].all()
    for level in np.arange(0.51, 0.995, 0.01):
        sets = confidence.sets(faces.probabilities, float(level))
        assert (sets >= before).all()
        before = sets
    assert before.all(axis=1).any()


def test_few_people_give_no_set() -> None:
    rows = simulated_genders(8, 0)
    confidence = GenderConfidence.fit(rows)
    assert not confidence.sets(rows.probabilities, 0.9).any()
    assert confidence.sets(rows.probabilities, 0.8).any(axis=1).all()


def test_a_rare_gender_shares_the_radii_of_everybody() -> None:
    rows = simulated_genders(2000, 0)
    is_kept = (rows.labels == 0) | (np.arange(2000) < 100)
    few = rows.part(is_kept)
    male, female = GenderConfidence.fit(few).radii
    assert male != female
    everybody = JudgedRows(few.probabilities, few.labels, few.people)
    scores = 1 - few.probabilities[np.arange(len(few.labels)), few.labels].astype(np.float64)
    assert female[40] == sorted(scores)[math.ceil(0.9 * (everybody.num_people + 1)) - 1]


def test_it_is_equal_after_json() -> None:
    confidence = fitted_gender()
    plain = json.loads(json.dumps(confidence.to_plain()))
    assert GenderConfidence.from_checkpoint({"confidence": plain}) == confidence
