import pytest
from werkzeug.exceptions import HTTPException

from serving.face_confidence import ConfidenceQuery
from serving.requests import IMAGE_QUERY, Query, check_passes, read_query

LEVELS = "expected a number from 0.5 to 0.99, such as 0.9"
AGES = "expected at most 20 whole years from 1 to 100, such as 18,25"
BAD_LEVELS = ("", "x", "0", "1", "1.0", "0.49", "0.991", "90", "-0.9", "0,9", "9e-1", "0.9 ", "nan")
BAD_AGES = ("", "x", "0", "101", "18,", ",18", "18;25", "18, 25", "-18", "18.5", "١٨", "999")


def test_an_empty_query_asks_for_the_plain_answer() -> None:
    assert read_query({}, 10) == Query(0, normalize=False, strict=False, is_of_2022=False)


def test_all_that_a_query_can_say_is_read() -> None:
    given = {"mc_samples": "10", "normalize": "1", "strict": "1", "answer": "2022"}
    assert read_query(given, 10) == Query(10, normalize=True, strict=True, is_of_2022=True)
    given = {"level": "0.95", "over": "18,25"}
    assert read_query(given, 10) == Query(confidence=ConfidenceQuery(0.95, (18, 25)))
    given = {"mc_samples": "0", "normalize": "0", "strict": "0", "answer": "2021"}
    assert read_query(given, 10) == Query()


def test_a_default_holds_until_the_query_says_otherwise() -> None:
    assert read_query({}, 100, IMAGE_QUERY, 64) == Query(64)
    assert read_query({"mc_samples": "0"}, 100, IMAGE_QUERY, 64) == Query(0)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"mc_samples": ""}, "mc_samples is '', expected a whole number from 0 to 1,000"),
        ({"mc_samples": "-1"}, "expected a whole number"),
        ({"mc_samples": "1.5"}, "expected a whole number"),
        ({"mc_samples": "1_0"}, "expected a whole number"),
        ({"mc_samples": " 1"}, "expected a whole number"),
        ({"mc_samples": "٣"}, "expected a whole number"),
        ({"mc_samples": "²"}, "expected a whole number"),
        ({"mc_samples": "nan"}, "expected a whole number"),
        ({"mc_samples": "9" * 10_000}, "expected a whole number"),
        ({"normalize": "true"}, "normalize is 'true', expected 0 or 1"),
        ({"normalize": ""}, "expected 0 or 1"),
        ({"strict": "2"}, "strict is '2', expected 0 or 1"),
        ({"answer": "2020"}, "answer is '2020', expected 2021 or 2022"),
        *(({"level": text}, f"level is '?{text}'?, {LEVELS}") for text in BAD_LEVELS),
        *(({"over": text}, f"over is '?{text}'?, {AGES}") for text in BAD_AGES),
        ({"over": "9" * 10_000}, f"over is '{'9' * 50}', {AGES}"),
        ({"answer": "2022", "level": "0.8"}, "answer=2022 has no place for level and over"),
        ({"answer": "2022", "over": "18"}, "answer=2022 has no place for level and over"),
        ({"mcsamples": "1"}, "unknown parameter 'mcsamples', known are mc_samples, normalize"),
        ({"x" * 10_000: "1"}, "unknown parameter 'xxx"),
    ],
)
def test_anything_else_is_refused(given: dict[str, str], complaint: str) -> None:
    with pytest.raises(HTTPException, match=complaint) as refusal:
        read_query(given, 1000)
    assert refusal.value.code == 400
    assert len(str(refusal.value)) < 200


@pytest.mark.parametrize("name", ["normalize", "strict", "answer"])
def test_a_picture_knows_passes_and_confidence_only(name: str) -> None:
    with pytest.raises(HTTPException, match=r"known are mc_samples, level, over$"):
        read_query({name: "1"}, 10, IMAGE_QUERY)


def test_more_passes_than_the_limit_are_refused_with_413() -> None:
    with pytest.raises(HTTPException, match="mc_samples is 1,001, at most 1,000") as refusal:
        read_query({"mc_samples": "1001"}, 1000)
    assert refusal.value.code == 413


def test_faces_times_passes_have_a_limit_of_their_own() -> None:
    check_passes(10, 100, 1000)
    with pytest.raises(
        HTTPException, match=r"413 .*: 11 faces x 100 passes, at most 1,000 in all$"
    ) as error:
        check_passes(11, 100, 1000)
    assert error.value.code == 413
