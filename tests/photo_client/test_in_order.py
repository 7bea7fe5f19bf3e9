import itertools
import threading
from contextlib import closing

from photo_client.in_order import IN_FLIGHT, in_order


def test_so_many_are_at_work_at_a_time_and_come_back_in_their_order() -> None:
    meeting = threading.Barrier(IN_FLIGHT)

    def work(item: int) -> int:
        meeting.wait(timeout=60)  # breaks unless all of them are at work
        return -item

    outcomes = [(item, outcome.result()) for item, outcome in in_order(work, range(2 * IN_FLIGHT))]
    assert outcomes == [(item, -item) for item in range(2 * IN_FLIGHT)]


def test_items_are_taken_as_needed_and_no_more_once_it_is_closed() -> None:
    items = itertools.count()
    with closing(in_order(abs, items)) as outcomes:
        assert next(outcomes)[1].result() == 0
    assert next(items) == IN_FLIGHT


def test_what_fails_is_raised_at_its_place() -> None:
    outcomes = [outcome.exception() for _, outcome in in_order(int, ["1", "no", "3"])]
    assert [type(error) for error in outcomes] == [type(None), ValueError, type(None)]
