from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from simulated_people import BOUNDS, fitted_age, fitted_gender

from confidence.age import AgeConfidence
from confidence.gender import GenderConfidence
from confidence.rows import JudgedRows
from utils.errors import CheckpointError

Plain = dict[str, Any]


def test_a_checkpoint_without_it_has_none() -> None:
    for content in ({}, {"confidence": None}):
        assert AgeConfidence.from_checkpoint(content) is None
        assert GenderConfidence.from_checkpoint(content) is None


@pytest.mark.parametrize(
    ("scores", "lowest"),
    [
        (np.arange(1, 1001) / 1000, 0.01),
        (np.full(50, 0.7), 0.7),
        (None, None),
        (np.array([0.8, np.nan]), None),
        (np.array([0.8, 7.0]), None),
    ],
)
def test_all_but_one_face_in_a_hundred_reach_the_lowest_score(
    scores: Any, lowest: float | None
) -> None:
    num_faces = 2 if scores is None else len(scores)
    probabilities = np.full((num_faces, 2), 0.5)
    labels = np.arange(num_faces) % 2
    rows = JudgedRows(probabilities, labels, np.arange(num_faces), det_scores=scores)
    for fitted in (GenderConfidence.fit(rows), AgeConfidence.fit(rows, BOUNDS[:2])):
        assert fitted.lowest_det_score == (None if lowest is None else pytest.approx(lowest))
        assert fitted.describe()["lowest_det_score"] == fitted.lowest_det_score


def test_that_of_a_gender_model_is_refused_for_ages() -> None:
    with pytest.raises(CheckpointError, match=r"confidence\.kind: 'gender'"):
        AgeConfidence.from_checkpoint({"confidence": fitted_gender().to_plain()})


DAMAGES: list[tuple[str, Callable[[Plain], Any]]] = [
    ("confidence.radii", lambda age: age["radii"].pop()),
    ("confidence.radii", lambda age: age["radii"].extend([1.0] * 10**6)),
    ("confidence.radii", lambda age: age["radii"].reverse()),
    ("confidence.radii.3", lambda age: age["radii"].__setitem__(3, float("nan"))),
    ("confidence.radii.3", lambda age: age["radii"].__setitem__(3, -0.1)),
    ("confidence.radii", lambda age: age["radii"].__setitem__(3, None)),
    ("confidence.bounds", lambda age: age["bounds"].reverse()),
    ("confidence.bounds", lambda age: age.update(bounds=[[0.0, 1.0]] * 10**6)),
    ("confidence.bounds.0", lambda age: age["bounds"].__setitem__(0, [0.0])),
    ("confidence.groups", lambda age: age.update(groups=age["groups"] * 1000)),
    ("confidence.groups.0.gender", lambda age: age["groups"][0].update(gender=2)),
    ("confidence.num_people", lambda age: age.update(num_people=0)),
    ("confidence.lowest_det_score", lambda age: age.update(lowest_det_score=1.5)),
    ("confidence.num_faces", lambda age: age.update(num_faces="many")),
    ("confidence.over_calibration.slope", lambda age: age["over_calibration"].update(slope=-1.0)),
    (
        "confidence.over_calibration.intercept",
        lambda age: age["over_calibration"].update(intercept=float("inf")),
    ),
    ("confidence.error_rates.0.threshold", lambda age: age["error_rates"][0].update(threshold=0)),
    ("confidence.error_rates", lambda age: age.update(error_rates=None)),
    ("confidence.more", lambda age: age.update(more=1)),
]


@pytest.mark.parametrize(("place", "damage"), DAMAGES)
def test_damage_is_refused_by_name(place: str, damage: Callable[[Plain], Any]) -> None:
    plain = fitted_age().to_plain()
    damage(plain)
    with pytest.raises(CheckpointError) as caught:
        AgeConfidence.from_checkpoint({"confidence": plain})
    assert f"{place}: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("plain", [[], 1, "x", {}, {"kind": "age"}])
def test_what_is_no_confidence_is_refused(plain: Any) -> None:
    for kind in (AgeConfidence, GenderConfidence):
        with pytest.raises(CheckpointError, match="damaged or of another version"):
            kind.from_checkpoint({"confidence": plain})
