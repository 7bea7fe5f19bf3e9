"""The client of our own server: sends embeddings, reads ages and genders, waits when it is busy."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urljoin

import numpy as np
import numpy.typing as npt
import requests

from utils.errors import DataError, UserError
from utils.face_address import server_url

NUM_TRIES = 5
LONGEST_WAIT_S = 30.0
MAX_ANSWER_BYTES = 16 * 2**20
BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
MALFORMED = (KeyError, TypeError, AttributeError, ValueError)
"""What reading an answer of another form raises."""

BINARY = {"Content-Type": "application/octet-stream"}


class RefusedError(Exception):
    """The server does not take this request; it may take others."""

    def __init__(self, status: int, reason: str):
        super().__init__(f"HTTP {status}: {reason}")
        self.status = status


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
    """One server of ages and genders; not for several threads.

    Args:
        address: its URL.
        timeout_s: seconds that it may be silent.
        wait: how to wait some seconds.
    """

    def __init__(
        self, address: str, timeout_s: float = 60.0, wait: Callable[[float], None] = time.sleep
    ) -> None:
        try:
            self.url = server_url(address).removesuffix("/") + "/"
        except DataError:
            raise DataError(
                f"{address!r} is no address of an age-gender server; expected a URL without user "
                "and password, such as 'http://127.0.0.1:10003/'"
            ) from None
        self._timeout_s, self._wait = timeout_s, wait
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy or .netrc of the shell is not for this server

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

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
        for attempt in range(NUM_TRIES):
            status, headers, content = self._once(method, urljoin(self.url, path), body)
            if status not in BUSY:
                break
            if attempt < NUM_TRIES - 1:
                self._wait(_wait_s(headers))
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._foreign("answer is not JSON") from None
        if status == HTTPStatus.OK:
            return answer
        reason = answer.get("error") if isinstance(answer, dict) else None
        raise RefusedError(status, str(reason or "no reason given"))

    def _once(
        self, method: str, url: str, body: bytes | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        try:
            with self._session.request(
                method,
                url,
                data=body,
                headers=BINARY if body is not None else {},
                timeout=self._timeout_s,
                allow_redirects=False,
                stream=True,
            ) as response:
                content = b""
                for part in response.iter_content(2**16):
                    content += part
                    if len(content) > MAX_ANSWER_BYTES:
                        raise self._foreign(f"more than {MAX_ANSWER_BYTES} bytes")
                return response.status_code, response.headers, content
        except requests.Timeout:
            reason = f"silent for {self._timeout_s:g} s"
        except requests.RequestException as error:
            reason = _reason(error)
        raise UserError(
            f"the age-gender server at {self.url} is away ({reason}); start it with "
            "`python app.py`, or give its address with --url-age-gender"
        )

    def _foreign(self, what: str) -> UserError:
        return UserError(
            f"what answers at {self.url} is no age-gender server ({what[:200]}); give its address "
            "with --url-age-gender"
        )


def _reason(error: requests.RequestException) -> str:
    """Tell in few words why there is no answer."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return "nothing listens there"
        inner = getattr(cause, "reason", None)
        nested = inner if isinstance(inner, BaseException) else None
        cause = nested or cause.__cause__ or cause.__context__
    return "connection lost"


def _wait_s(headers: Mapping[str, str]) -> float:
    """Read Retry-After in seconds, 1 without it, up to LONGEST_WAIT_S."""
    text = headers.get("Retry-After", "")
    return min(float(text), LONGEST_WAIT_S) if text.isdecimal() else 1.0


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
