import pytest

from http_client.reply import LONGEST_WAIT_S, Reply


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        *(("0", 0), ("2", 2), ("500", LONGEST_WAIT_S), ("9" * 5000, LONGEST_WAIT_S)),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Wed, 21 Oct 9015 07:28:00 GMT", LONGEST_WAIT_S),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        *((text, None) for text in ("", "soon", "-1", "1.5", "Wed, 99 Oct 2015 07:28:00 GMT", "²")),
    ],
)
def test_the_time_to_wait_is_read_as_seconds_or_a_date_and_bounded(
    text: str, wait_s: float | None
) -> None:
    assert Reply("http://a/", 503, {"Retry-After": text}, b"").retry_after_s == wait_s
    assert Reply("http://a/", 503, {}, b"").retry_after_s is None


@pytest.mark.parametrize(
    "location", ["http://user:secret@a/", "http://a/\x1b[31m", "http://\xe4/", "x" * 999, "//[a"]
)
def test_where_a_redirect_points_is_shown_only_if_it_is_harmless(location: str) -> None:
    assert Reply("http://a/", 301, {"Location": location}, b"").phrase == "Moved Permanently"
