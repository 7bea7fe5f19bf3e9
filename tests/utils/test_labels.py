import re
from typing import Any

import numpy as np
import pytest
from conftest import ADIENCE_YEARS

from utils.labels import (
    ADIENCE_GROUPS,
    MAX_AGE_YEARS,
    AgeClasses,
    AgeGroups,
    age_classes_of,
    ages_to_classes,
    class_bounds,
    class_years,
    genders_to_classes,
    read_age_groups,
)

TO_8 = [
    (0, 0), (1, 0), (2, 0), (2.9, 0), (3.1, 1), (5, 1), (7, 1), (7.4, 1), (7.6, 2), (10, 2),
    (13, 2), (14, 3), (17.5, 3), (22, 3), (24, 4), (28.5, 4), (34, 4), (35, 5), (40.5, 5),
    (45, 5), (46, 6), (50.5, 6), (65, 6), (66, 7), (80, 7), (100, 7), (120, 7),
]  # fmt: skip
TIES_8 = [(3, 0), (7.5, 1), (13.75, 2), (23, 3), (34.5, 4), (45.5, 5), (65.25, 6)]


@pytest.mark.parametrize(("age", "expected"), TO_8 + TIES_8)
def test_an_age_falls_to_the_nearest_of_eight_classes_and_a_tie_to_the_younger(
    age: float, expected: int
) -> None:
    assert ages_to_classes([age], 8).tolist() == [expected]
    assert ages_to_classes(np.array([age], np.float32), 8).tolist() == [expected]


def test_every_tie_of_eight_classes_is_in_the_table() -> None:
    centres = np.array(ADIENCE_YEARS)
    assert [age for age, _ in TIES_8] == ((centres[1:] + centres[:-1]) / 2).tolist()


def test_a_hair_above_a_tie_falls_to_the_older_class() -> None:
    above = [np.nextafter(np.float32(age), np.float32(np.inf)) for age, _ in TIES_8]
    assert ages_to_classes(above, 8).tolist() == [expected + 1 for _, expected in TIES_8]


def test_whole_years_are_their_own_class_of_101_and_half_years_fall_to_the_younger() -> None:
    years = np.arange(101)
    assert ages_to_classes(years, 101).tolist() == years.tolist()
    assert ages_to_classes(years[:-1] + 0.5, 101).tolist() == years[:-1].tolist()
    assert ages_to_classes(years[:-1] + 0.501, 101).tolist() == years[1:].tolist()


@pytest.mark.parametrize(("age", "expected"), [(100.5, 100), (117, 100), (2014, 100), (0, 0)])
def test_ages_beyond_the_last_class_fall_to_it(age: float, expected: int) -> None:
    assert ages_to_classes([age], 101).tolist() == [expected]


@pytest.mark.parametrize("num_classes", [8, 101])
def test_the_nearest_class_by_brute_force_agrees(num_classes: int) -> None:
    ages = np.arange(0, 110, 0.25)
    distance = np.abs(ages[:, None] - class_years(num_classes).astype(float))
    assert ages_to_classes(ages, num_classes).tolist() == distance.argmin(1).tolist()


@pytest.mark.parametrize("num_classes", [8, 101])
def test_classes_and_years_go_both_ways(num_classes: int) -> None:
    classes = ages_to_classes(class_years(num_classes), num_classes)
    assert classes.dtype == np.int64
    assert classes.tolist() == list(range(num_classes))


@pytest.mark.parametrize("num_classes", [0, 2, 7, 100, 102])
def test_other_numbers_of_classes_are_refused(num_classes: int) -> None:
    with pytest.raises(ValueError, match=f"{num_classes} age classes, expected 8 or 101"):
        ages_to_classes([1], num_classes)


def test_male_is_class_0_and_female_class_1() -> None:
    assert genders_to_classes(np.array(["m", "f", "f", "m"])).tolist() == [0, 1, 1, 0]
    assert genders_to_classes([]).dtype == np.int64


@pytest.mark.parametrize("letter", ["u", "", "M", "male"])
def test_another_gender_is_refused_by_name(letter: str) -> None:
    with pytest.raises(ValueError, match=f"gender '{letter}', expected 'm' or 'f'"):
        genders_to_classes(["m", letter])


@pytest.mark.parametrize("classes", [8, 101, ((0, 2), (3, 9), (10, 10), (70, 99))])
def test_the_years_of_a_class_are_the_middle_of_its_bounds(classes: AgeClasses) -> None:
    bounds = class_bounds(classes)
    assert bounds.dtype == class_years(classes).dtype == np.float32
    assert bounds.shape == (len(class_years(classes)), 2)
    assert class_years(classes).tolist() == [(first + last) / 2 for first, last in bounds.tolist()]
    assert (bounds[1:, 0] > bounds[:-1, 1]).all()


FAIRFACE = (
    *((0, 2), (3, 9), (10, 19), (20, 29), (30, 39), (40, 49), (50, 59), (60, 69), (70, 90)),
)


@pytest.mark.parametrize(
    "groups", [FAIRFACE, ADIENCE_GROUPS, ((0, 17), (18, 120)), ((5, 5), (7, 7))]
)
def test_an_age_is_in_the_group_that_holds_it_or_in_the_nearest(groups: AgeGroups) -> None:
    ages = np.arange(-1, 1301) / 10
    distance = [[max(first - age, age - last, 0) for first, last in groups] for age in ages]
    assert ages_to_classes(ages, groups).tolist() == np.argmin(distance, 1).tolist()
    for number, (first, last) in enumerate(groups):
        assert set(ages_to_classes(range(first, last + 1), groups)) == {number}


def test_whole_years_are_the_same_classes_as_groups_of_one_year() -> None:
    groups = tuple((year, year) for year in range(101))
    ages = np.arange(0, 1100) / 10
    assert ages_to_classes(ages, groups).tolist() == ages_to_classes(ages, 101).tolist()
    assert np.array_equal(class_bounds(groups), class_bounds(101))


def test_the_classes_of_adience_keep_the_nearest_centre_where_groups_keep_their_years() -> None:
    assert np.array_equal(class_bounds(8), class_bounds(ADIENCE_GROUPS))
    ages = np.arange(101)
    differ = ages_to_classes(ages, 8) != ages_to_classes(ages, ADIENCE_GROUPS)
    assert np.flatnonzero(differ).tolist() == [23, 35, *range(57, 66)]


BAD_GROUPS: list[tuple[Any, str]] = [
    ([], "[], expected two or more groups"),
    ([[0, 120]], "expected two or more groups, as [[0, 2], [3, 9]]"),
    ("0-2,3-9", "'0-2,3-9', expected two or more groups"),
    ({"0": 2}, "expected two or more groups"),
    (9, "9, expected two or more groups"),
    ([[0, 2], [2, 9]], "[2, 9] does not begin after [0, 2] ends"),
    ([[3, 9], [0, 2]], "[0, 2] does not begin after [3, 9] ends"),
    ([[0, 2], [0, 2]], "groups ascend and do not overlap"),
    ([[0, 2], [9, 3]], "[9, 3] is no group"),
    ([[0, 2], [3]], "[3] is no group"),
    ([[0, 2], [3, 4, 5]], "[3, 4, 5] is no group"),
    ([0, 2, 3], "0 is no group"),
    ([[0, 2], []], "[] is no group"),
    ([[0, 2], None], "None is no group"),
    ([[0, 2], "39"], "'39' is no group"),
    ([[0, 2], [3.0, 9]], "[3.0, 9] is no group"),
    ([[0, float("nan")], [3, 9]], "[0, nan] is no group"),
    ([[False, True], [3, 9]], "[False, True] is no group"),
    ([[-1, 2], [3, 9]], "[-1, 2] is no group"),
    ([[0, 2], [3, MAX_AGE_YEARS + 1]], "from 0 to 120"),
    ([[0, 2], [3, 10**5000]], "is no group"),
    ([[0, 2]] * 10**5, "does not begin after"),
]


@pytest.mark.parametrize(("value", "words"), BAD_GROUPS)
def test_bad_groups_of_ages_are_explained_in_one_line(value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)) as refusal:
        read_age_groups(value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 200


def config_of(num_classes: Any, groups: Any = None) -> dict[str, Any]:
    return {
        "arch": {"args": {"num_classes": num_classes}},
        "data_loader": {"args": {"classes": groups}},
    }


@pytest.mark.parametrize("num_classes", [2, 8, 101])
def test_a_config_without_groups_has_the_classes_that_its_network_has(num_classes: int) -> None:
    expected = None if num_classes == 2 else num_classes
    assert age_classes_of(config_of(num_classes)) == expected
    assert age_classes_of({"arch": {"args": {"num_classes": num_classes}}}) == expected


@pytest.mark.parametrize("groups", [FAIRFACE, ADIENCE_GROUPS, ((0, 17), (18, 120))])
def test_a_config_with_groups_has_those_whatever_their_number(groups: AgeGroups) -> None:
    as_json = [list(group) for group in groups]
    assert age_classes_of(config_of(len(groups), as_json)) == groups


@pytest.mark.parametrize(
    "config", [config_of(3, [[0, 2], [3, 9]]), config_of("2"), {"arch": []}, {}, config_of(2, "x")]
)
def test_a_config_of_unfit_classes_is_a_value_error(config: Any) -> None:
    with pytest.raises(ValueError, match=r"classes|groups"):
        age_classes_of(config)
