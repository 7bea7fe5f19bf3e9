from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from face_helpers import vector
from numpy.typing import NDArray

from photo_client import tracking
from photo_client.errors import PhotoError
from photo_client.face import SeenFace, Uncertainty
from photo_client.guesser import Guesses
from photo_client.people import SeenPerson
from photo_client.tracking import Tracker

Embedding = NDArray[np.float32]


def seen(left: float, age: float = 30.0, score: float = 0.8, top: float = 0.0) -> SeenFace:
    known = Uncertainty(age / 10, 0.1, 101)
    return SeenFace((left, top, left + 100, top + 100), score, age, 0.25, known, True)


def guesses(*faces: tuple[SeenFace, Embedding]) -> Guesses:
    return Guesses([face for face, _ in faces], np.stack([vector for _, vector in faces]))


def near(person: int, cosine: float, seed: int = 99) -> Embedding:
    """Make a vector of a given cosine to that of a person."""
    axis, other = vector(person).astype(float), vector(seed).astype(float)
    across = other - (other @ axis) * axis
    mixed = cosine * axis + np.sqrt(1 - cosine**2) * across / np.linalg.norm(across)
    return np.asarray(mixed, np.float32)


def lefts(person: SeenPerson) -> list[float]:
    return [sighting.face.bbox[0] for sighting in person.sightings]


def test_two_people_who_cross_keep_their_numbers() -> None:
    tracker = Tracker()
    for step in range(11):
        one = seen(step * 20.0), near(0, 0.7, 50 + step)
        other = seen(200 - step * 20.0), near(1, 0.7, 80 + step)
        tracker.add(step / 5, guesses(*sorted((one, other), key=lambda pair: pair[0].bbox[0])))
    assert [lefts(person) for person in tracker.people] == [
        [step * 20.0 for step in range(11)],
        [200 - step * 20.0 for step in range(11)],
    ]


def test_a_face_that_turns_away_on_its_place_is_still_the_same_person() -> None:
    tracker = Tracker()
    for step, cosine in enumerate((1.0, 0.8, 0.4, 0.3, 0.25)):
        tracker.add(step / 5, guesses((seen(step * 5.0), near(0, cosine, step))))
    assert len(tracker.people) == 1


def test_another_face_on_the_same_place_is_another_person() -> None:
    tracker = Tracker()
    tracker.add(0.0, guesses((seen(0), vector(0))))
    tracker.add(0.2, guesses((seen(0), near(0, 0.0))))
    assert [person.number for person in tracker.people] == [1, 2]


def test_who_comes_back_elsewhere_after_long_keeps_the_number_in_a_second_time_range() -> None:
    tracker = Tracker()
    for time_s in (0.0, 0.5, 1.0):
        tracker.add(time_s, guesses((seen(0), vector(0))))
    for time_s in (7.0, 7.5):
        tracker.add(time_s, guesses((seen(900), near(0, 0.6))))
    (person,) = tracker.people
    assert person.as_json(with_boxes=False)["ranges"] == [[0.0, 1.0], [7.0, 7.5]]
    assert person.times == "0.0-1.0, 7.0-7.5"
    assert person.box_at(4.0, margin_s=0.1) is None


def test_a_place_that_was_left_long_ago_speaks_for_nobody() -> None:
    tracker = Tracker(max_gap_s=1.0)
    tracker.add(0.0, guesses((seen(0), vector(0))))
    tracker.add(1.0, guesses((seen(0), near(0, 0.3))))
    assert len(tracker.people) == 1
    tracker.add(3.0, guesses((seen(0), near(0, 0.3, 7))))
    assert len(tracker.people) == 2


def test_a_face_belongs_to_one_person_and_a_person_has_one_face_on_a_frame() -> None:
    tracker = Tracker()
    tracker.add(0.0, guesses((seen(0), vector(0))))
    tracker.add(0.2, guesses((seen(0), near(0, 0.9)), (seen(30), near(0, 0.8))))
    assert [lefts(person) for person in tracker.people] == [[0, 0], [30]]


def test_ages_are_means_over_the_frames_by_how_sure_the_detector_is() -> None:
    person = Tracker()
    for step, (age, score) in enumerate(((20.0, 0.9), (30.0, 0.9), (80.0, 0.45))):
        person.add(step / 5, guesses((seen(0, age, score), vector(0))))
    mean = person.people[0].mean_face
    assert mean.age == pytest.approx((20 * 0.9 + 30 * 0.9 + 80 * 0.45) / (0.9 + 0.9 + 0.45))
    assert mean.uncertainty is not None
    assert mean.uncertainty.age == pytest.approx(mean.age / 10)
    assert mean.det_score == pytest.approx(0.75)
    assert mean.male == pytest.approx(0.25)


def joined(*frames: dict[str, Any]) -> SeenFace:
    """Return what frames of one person say together."""
    tracker = Tracker()
    for step, said in enumerate(frames):
        tracker.add(step / 5, guesses((replace(seen(0), **said), vector(0))))
    return tracker.people[0].mean_face


def test_the_range_of_a_person_is_from_the_mean_of_the_first_years_to_that_of_the_last() -> None:
    face = joined(
        {"age_interval": (20, 30), "det_score": 0.9},
        {"age_interval": (30, 60), "det_score": 0.3},
        {"age_interval": None},
    )
    assert face.age_interval == [round(0.75 * 20 + 0.25 * 30), round(0.75 * 30 + 0.25 * 60)]
    assert joined({}, {}).age_interval is None


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([["m"], ["m", "f"], ["m"]], ["m"]),
        ([["f"], ["m", "f"]], ["m", "f"]),
        ([["f"], ["m"]], ["m", "f"]),
        ([["f"], None], ["f"]),
        ([None, None], None),
    ],
)
def test_a_gender_that_half_of_the_frames_hold_possible_is_possible(
    sets: list[list[str] | None], expected: list[str] | None
) -> None:
    assert joined(*[{"gender_set": one} for one in sets]).gender_set == expected


def test_a_gender_is_possible_where_the_halves_are_rounded_down() -> None:
    sets = [["m"]] * 7 + [["f"]] * 7
    assert joined(*[{"gender_set": one, "det_score": 0.72} for one in sets]).gender_set


def test_ages_that_are_reached_are_means_and_cover_is_that_of_most_frames() -> None:
    face = joined(
        {"over": {"18": 0.5, "25": 0.1}, "covered": True},
        {"over": {"18": 0.9, "25": 0.3}, "covered": False},
        {"over": None, "covered": False},
    )
    assert face.over == pytest.approx({"18": 0.7, "25": 0.2})
    assert face.covered is False
    assert joined({}, {}).covered is None


def test_boxes_between_analysed_frames_are_in_between_and_an_even_movement_is_kept() -> None:
    tracker = Tracker()
    for step in range(5):
        tracker.add(step * 0.2, guesses((seen(step * 10.0), vector(0))))
    person = tracker.people[0]
    for time_s in (0.0, 0.1, 0.25, 0.5, 0.8):
        left = 50 * time_s
        assert person.box_at(time_s, 0.1) == pytest.approx((left, 0, left + 100, 100))
    assert person.box_at(0.89, 0.1) == pytest.approx((40, 0, 140, 100))
    assert person.box_at(0.91, 0.1) is None


def test_a_box_that_trembles_is_smoothed() -> None:
    tracker = Tracker()
    for step in range(9):
        tracker.add(step * 0.2, guesses((seen(4.0 * (step % 2)), vector(0))))
    (one,) = tracker.people[0].ranges
    assert np.ptp(one.boxes[1:-1, 0]) == pytest.approx(0)


def test_too_many_people_fail_the_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "MAX_PEOPLE", 3)
    tracker = Tracker()
    with pytest.raises(PhotoError, match="at most 3 people"):
        tracker.add(0.0, guesses(*((seen(200.0 * n), vector(n)) for n in range(4))))
