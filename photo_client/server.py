"""The client of our own server: sends embeddings, reads ages and genders, waits when it is busy."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from http_client.client import HttpServer
from http_client.errors import AnswerError, ServerAwayError
from http_client.reply import BUSY, Reply, Request
from http_client.retry import RetryPolicy
from utils.addresses import server_url
from utils.errors import UserError

RETRY = RetryPolicy((1.0, 1.0, 1.0, 1.0))

MAX_ANSWER_BYTES = 16 * 2**20
MAX_REASON = 500
MALFORMED = (KeyError, TypeError, AttributeError, ValueError)
"""What reading an answer of another form raises."""

BINARY = {"Content-Type": "application/octet-stream"}


class RefusedError(Exception):
    """The server does not take this request; it may take others."""

    def __init__(self, status: int, reason: str):
        super().__init__(f"HTTP {status}: {reason}")
        self.status, self.reason = status, f"HTTP {status}"


class _BusyError(AnswerError):
    """The server, or a proxy in front of it, asks to come again."""

    def __init__(self, reply: Reply):
        super().__init__(f"HTTP {reply.status}", wait_s=reply.retry_after_s or 0.0)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Models:
    """What the server says of itself: names of its models, number of ages, its limit."""

    age: str
    gender: str
    num_ages: int
    max_mc_samples: int | None


@dataclass(frozen=True, slots=True)
class Answer:
    """Ages in years and probabilities of male, one a face; uncertainty in nats when asked for."""

    ages: list[float]
    males: list[float]
    uncertainties: list[dict[str, float]] | None
    in_distribution: list[bool | None]


class AgeGenderServer:
    """One server of ages and genders.

    Args:
        address: its URL; may have a path, below which a proxy has the server.
        timeout_s: seconds that an answer may take.
        wait: how to wait some seconds.

    Raises:
        DataError: the address is no URL, or names a user; or a variable of the environment names
            certificates, which https needs, that are none.
    """

    def __init__(
        self, address: str, timeout_s: float = 60.0, wait: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(server_url(address, "an age-gender server", 10003))
        self._path = parts.path.removesuffix("/") + "/"
        self.url = parts._replace(path=self._path, query="").geturl()
        self._wait = wait
        self._http = HttpServer(self.url, timeout_s)

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def models(self) -> Models:
        """Ask what is served.

        Raises:
            UserError: nothing answers, or something else.
        """
        try:
            content = self._exchange("GET", "health")
        except RefusedError as error:
            if error.status in BUSY:
                raise UserError(
                    f"the age-gender server at {self.url} stays busy ({error}); try again later"
                ) from None
            raise self._foreign(str(error)) from None
        try:
            models, limits = content["models"], content.get("limits", {})
            return Models(
                age=str(models["age"]["name"]),
                gender=str(models["gender"]["name"]),
                num_ages=_whole(models["age"]["num_classes"]),
                max_mc_samples=limits.get("max_mc_samples"),
            )
        except MALFORMED as error:
            raise self._foreign(f"answer not understood: {error}") from None

    def guess(self, embeddings: npt.NDArray[np.float32], mc_samples: int) -> Answer:
        """Ask for ages and genders.

        Args:
            embeddings: (n, 512), of unit length.
            mc_samples: passes with dropout; 0 asks for no uncertainty.

        Raises:
            RefusedError: the server says why it does not take them, or stays busy.
            UserError: nothing answers, or something else.
        """
        path = f"?mc_samples={mc_samples}" if mc_samples else ""
        body = np.ascontiguousarray(embeddings, "<f4").tobytes()
        content = self._exchange("POST", path, body)
        try:
            return _read_answer(content, len(embeddings), mc_samples > 0)
        except MALFORMED as error:
            raise self._foreign(f"answer not understood: {error}") from None

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send and read JSON; while the server is busy, wait as long as it says and try again."""
        headers = BINARY if body is not None else {}
        request = Request(method, self._path + path, MAX_ANSWER_BYTES, body, headers)
        try:
            reply = RETRY.run(lambda: self._once(request), self._wait)
        except _BusyError as error:
            reply = error.reply
        try:
            answer = json.loads(reply.content)
        except (ValueError, RecursionError):
            answer = None
        if reply.status == HTTPStatus.OK:
            if answer is None:
                raise self._foreign("answer is not JSON")
            return answer
        raise self._refusal(reply, answer)

    def _once(self, request: Request) -> Reply:
        try:
            reply = self._http.ask(request)
        except AnswerError as error:
            raise self._foreign(str(error)) from None
        except ServerAwayError as error:
            start = "start it with `python app.py`"
            raise UserError(
                away_message("age-gender server", self.url, error, start, "--url-age-gender")
            ) from None
        if reply.status in BUSY:
            raise _BusyError(reply)
        return reply

    def _refusal(self, reply: Reply, answer: Any) -> Exception:
        """Word a status that is an error, by the reason if the server gives one as ours does."""
        reason = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(reason, str) and reason:
            return RefusedError(reply.status, reason[:MAX_REASON])
        if reply.status in BUSY:
            return RefusedError(reply.status, reply.phrase)
        return UserError(
            f"{reply.status} {reply.phrase}, from {reply.url}: is this the age-gender server? Give "
            "its address with --url-age-gender"
        )

    def _foreign(self, what: str) -> UserError:
        return UserError(
            f"what answers at {self.url} is no age-gender server ({what[:200]}); give its address "
            "with --url-age-gender"
        )


def away_message(kind: str, url: str, error: ServerAwayError, start: str, option: str) -> str:
    """Word in one line that a server gives no answer, and what to do."""
    if error.has_remedy:
        return f"the {kind} at {url} cannot be asked: {error}; or give its address with {option}"
    return f"the {kind} at {url} is away ({error}); {start}, or give its address with {option}"


def _read_answer(content: Any, num_faces: int, with_uncertainty: bool) -> Answer:
    """Check and take over an answer; raises one of MALFORMED for another form."""
    names = ["ages", "genders", *(["uncertainty"] if with_uncertainty else [])]
    for name in names:
        if len(content[name]) != num_faces:
            raise ValueError(f"{len(content[name])} {name} for {num_faces} faces")
    known = content.get("in_distribution") or [None] * num_faces
    if len(known) != num_faces or not all(isinstance(value, bool | None) for value in known):
        raise ValueError("in_distribution does not fit the faces")
    return Answer(
        ages=[_number(age) for age in content["ages"]],
        males=[_number(gender["m"]) for gender in content["genders"]],
        uncertainties=[
            {name: _number(entry[name]) for name in ("age", "gender")}
            for entry in content["uncertainty"]
        ]
        if with_uncertainty
        else None,
        in_distribution=list(known),
    )


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("what should be a number is none")
    return float(value)


def _whole(value: Any) -> int:
    number = int(_number(value))
    if number < 2:
        raise ValueError(f"{number} classes")
    return number
