"""The retry of both clients: which requests are sent again, how often, and after how long."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from http_client.errors import AnswerError, ServerAwayError

_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a request that failed for now is sent again.

    Attributes:
        waits_s: seconds before each new try, at least; a server that says how long gets so long.

    >>> RetryPolicy((0.5, 1.0)).next_wait_s(AnswerError("HTTP 503", wait_s=7), 1)
    7
    >>> RetryPolicy((0.5, 1.0)).next_wait_s(AnswerError("HTTP 503"), 2) is None
    True
    """

    waits_s: tuple[float, ...] = (0.5, 1.0, 2.0)

    def next_wait_s(
        self, problem: AnswerError | ServerAwayError, num_failures: int
    ) -> float | None:
        """Return the seconds before the next try; None where there is none.

        Args:
            problem: why the last try failed.
            num_failures: tries that failed before it.
        """
        if isinstance(problem, ServerAwayError):
            is_temporary, asked_s = not problem.is_final, 0.0
        else:
            is_temporary, asked_s = problem.is_temporary, problem.wait_s
        if not is_temporary or num_failures >= len(self.waits_s):
            return None
        return max(self.waits_s[num_failures], asked_s)

    def run(
        self, send: Callable[[], _Reply], wait: Callable[[float], object] = time.sleep
    ) -> _Reply:
        """Call `send` until it returns; raise its last error where another try is of no use.

        Args:
            send: sends a request, and raises AnswerError or ServerAwayError where it fails.
            wait: how to wait some seconds.
        """
        num_failures = 0
        while True:
            try:
                return send()
            except (AnswerError, ServerAwayError) as problem:
                wait_s = self.next_wait_s(problem, num_failures)
                if wait_s is None:
                    raise
            num_failures += 1
            wait(wait_s)
