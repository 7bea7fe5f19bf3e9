"""The client of our own server: sends embeddings, reads ages and genders, waits when it is busy."""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from http_client.client import HttpServer
from http_client.errors import AnswerError, ServerAwayError
from http_client.reply import BUSY, Reply, Request
from http_client.retry import RetryPolicy
from photo_client.answers import Estimates, Health, Wanted
from photo_client.errors import AGE_GENDER_SERVER, PhotoError
from utils.addresses import server_url
from utils.errors import UserError
from utils.files import parse_json
from utils.problems import JsonObject, problems_of

RETRY = RetryPolicy((1.0, 1.0, 1.0, 1.0))
MAX_ANSWER_BYTES = 16 * 2**20
MAX_REASON = 500
BINARY = {"Content-Type": "application/octet-stream"}


class RequestRefusedError(PhotoError):
    """The server does not take this request; it may take others."""

    def __init__(self, status: int, detail: str):
        super().__init__(f"HTTP {status}", detail)
        self.status = status


class _BusyError(AnswerError):
    """The server, or a proxy in front of it, asks to come again."""

    def __init__(self, reply: Reply):
        super().__init__(f"HTTP {reply.status}", wait_s=reply.retry_after_s or 0.0)
        self.reply = reply


_Answer = TypeVar("_Answer", bound=JsonObject)


class AgeGenderServer:
    """One server of ages and genders; threads may share it.

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
        """Break off what other threads ask, and close the connections."""
        self._http.abort()

    def health(self) -> Health:
        """Ask what is served.

        Raises:
            UserError: nothing answers, or something else.
        """
        try:
            content = self._exchange("GET", "health")
        except RequestRefusedError as error:
            if error.status in BUSY:
                raise AGE_GENDER_SERVER.busy(self.url, error) from None
            raise self._foreign(str(error)) from None
        return self._understood(Health, content)

    def estimate(self, embeddings: npt.NDArray[np.float32], wanted: Wanted) -> Estimates:
        """Ask for ages and genders.

        Args:
            embeddings: (n, 512), of unit length.
            wanted: of each face.

        Raises:
            RequestRefusedError: the server says why it does not take them, or stays busy.
            UserError: nothing answers, or something else.
        """
        body = np.ascontiguousarray(embeddings, "<f4").tobytes()
        estimates = self._understood(Estimates, self._exchange("POST", wanted.query, body))
        problem = estimates.problem(len(embeddings), with_uncertainty=wanted.mc_samples > 0)
        if problem:
            raise self._foreign(f"answer not understood: {problem}")
        return estimates

    def _understood(self, model: type[_Answer], content: Any) -> _Answer:
        try:
            return model.model_validate(content)
        except ValidationError as error:
            problem = problems_of(error, model, content)[0]
            raise self._foreign(f"answer not understood: {problem}") from None

    def _exchange(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Send and read JSON; while the server is busy, wait as long as it says and try again."""
        headers = BINARY if body is not None else {}
        request = Request(method, self._path + path, MAX_ANSWER_BYTES, body, headers)
        try:
            reply = RETRY.run(lambda: self._ask_once(request), self._wait)
        except _BusyError as error:
            reply = error.reply
        try:
            content = parse_json(reply.content)
        except ValueError:
            content = None
        if reply.status != HTTPStatus.OK:
            raise self._refusal(reply, content)
        if content is None:
            raise self._foreign("answer is not JSON")
        return content

    def _ask_once(self, request: Request) -> Reply:
        try:
            reply = self._http.ask(request)
        except AnswerError as error:
            raise self._foreign(str(error)) from None
        except ServerAwayError as error:
            raise AGE_GENDER_SERVER.away(self.url, error) from None
        if reply.status in BUSY:
            raise _BusyError(reply)
        return reply

    def _refusal(self, reply: Reply, content: Any) -> Exception:
        """Return the error for a status, with the reason if the server gives one as ours does."""
        reason = content.get("error") if isinstance(content, dict) else None
        if isinstance(reason, str) and reason:
            return RequestRefusedError(reply.status, reason[:MAX_REASON])
        if reply.status in BUSY:
            return RequestRefusedError(reply.status, reply.phrase)
        return UserError(
            f"{reply.status} {reply.phrase}, from {reply.url}: is this the age-gender server? Give "
            "its address with --url-age-gender"
        )

    def _foreign(self, problem: str) -> UserError:
        return AGE_GENDER_SERVER.another(self.url, problem[:200])
