from itertools import count

import pytest

from http_client.errors import AnswerError, ServerAwayError
from http_client.retry import RetryPolicy

BUSY = AnswerError("HTTP 503")
AWAY = ServerAwayError("the connection broke")
FINAL = [AnswerError("HTTP 404", is_temporary=False), ServerAwayError("nothing listens", True)]
Problem = AnswerError | ServerAwayError


def waits_of(policy: RetryPolicy, *problems: Problem) -> tuple[list[float], Problem | None]:
    """Return the waits of a request whose first tries fail, and its last error if none succeeds."""
    tries, waits = count(), list[float]()

    def send() -> None:
        number = next(tries)
        if number < len(problems):
            raise problems[number]

    try:
        policy.run(send, waits.append)
    except (AnswerError, ServerAwayError) as error:
        return waits, error
    return waits, None


@pytest.mark.parametrize("problem", [BUSY, AWAY])
def test_what_may_pass_is_tried_again_with_growing_waits(problem: Problem) -> None:
    policy = RetryPolicy((0.5, 1.0, 2.0))
    assert waits_of(policy) == ([], None)
    assert waits_of(policy, problem, problem) == ([0.5, 1.0], None)
    assert waits_of(policy, *[problem] * 9) == ([0.5, 1.0, 2.0], problem)


@pytest.mark.parametrize("problem", FINAL)
def test_what_does_not_pass_is_not_tried_again(problem: Problem) -> None:
    assert waits_of(RetryPolicy(), problem) == ([], problem)
    assert waits_of(RetryPolicy(), BUSY, problem) == ([0.5], problem)


def test_a_server_is_waited_for_as_long_as_it_says_and_never_shorter_than_else() -> None:
    problems = [AnswerError("HTTP 503", wait_s=wait_s) for wait_s in (7, 0.1)]
    assert waits_of(RetryPolicy(), *problems) == ([7, 1.0], None)


def test_a_policy_without_waits_tries_once() -> None:
    assert waits_of(RetryPolicy(()), BUSY) == ([], BUSY)
