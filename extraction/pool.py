"""Several face servers as one: the work shared out, dead ones dropped, all of them one network."""

import itertools
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from extraction.options import ExtractionOptions
from extraction.same_network import OtherNetworkError, ReferenceImage
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from utils.errors import UserError
from utils.log import get_logger

logger = get_logger("extraction")


class ServersAwayError(UserError):
    """Every server stays away."""


class StoppedError(Exception):
    """The pool was stopped before the request was answered."""


class RequestError(Exception):
    """A request failed.

    Attributes:
        problem: what went wrong.
        server: the server that it went wrong with.
    """

    def __init__(self, problem: AnswerError | ServerAwayError, server: FaceServer):
        super().__init__(str(problem))
        self.problem = problem
        self.server = server


@dataclass(slots=True, eq=False)
class _Member:
    """A server of the pool; `problem` is why it is not in use."""

    server: FaceServer
    is_up: bool = False
    num_open: int = 0
    num_answers: int = 0
    problem: str = "not asked yet"


class ServerPool:
    """Sends requests to whichever server has the fewest open, so that a faster one gets more.

    A server that does not answer is dropped, looked at again with growing waits, and used again
    once it answers as the same network does. While no face is known to compare with, only one
    server is used.

    Args:
        servers: none of them has to be up.
        options: how long to wait, where.
        reference: a picture of this extraction and its embedding, when there is one.
        model: name of the network, when it is known.
    """

    def __init__(
        self,
        servers: Sequence[FaceServer],
        options: ExtractionOptions,
        reference: ReferenceImage | None = None,
        model: str | None = None,
    ) -> None:
        self._members = [_Member(server) for server in servers]
        self._options = options
        self._reference, self._model = reference, model
        self._error: BaseException | None = None
        self._away_since = time.monotonic()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._is_aborted = False
        for member in self._members:
            self._watch(member)

    def ask(self, body: bytes, avoid: FaceServer | None = None) -> FaceAnswer:
        """Send a request to one of the servers, waiting while none is up.

        Args:
            body: the request.
            avoid: a server that failed with it; taken only if there is no other.

        Raises:
            RequestError: the request failed; another try may succeed.
            ServersAwayError: every server stays away.
            OtherNetworkError: a server answers as another network.
            StoppedError: `stop` was called before it was sent, or `abort` meanwhile.
        """
        member = self._take(avoid)
        try:
            answer = member.server.ask_body(body)
        except (AnswerError, ServerAwayError) as problem:
            if self._is_aborted:
                raise StoppedError from None
            if isinstance(problem, ServerAwayError):
                self._drop(member, problem)
            raise RequestError(problem, member.server) from None
        finally:
            with self._changed:
                member.num_open -= 1
        self._compare(member, body, answer)
        return answer

    def stop(self) -> None:
        """Let no further request begin; those under way go on."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def abort(self) -> None:
        """Stop, and break off the requests under way; they raise `StoppedError`."""
        self._is_aborted = True
        self.stop()
        for member in self._members:
            member.server.abort()

    def close(self) -> None:
        """Stop, and close the connections."""
        self.stop()
        for member in self._members:
            member.server.close()

    @property
    def num_up(self) -> int:
        """Servers that are in use."""
        return sum(member.is_up for member in self._members)

    @property
    def num_answers(self) -> dict[str, int]:
        """Answers so far, by the server's URL."""
        return {member.server.url: member.num_answers for member in self._members}

    def _take(self, avoid: FaceServer | None) -> _Member:
        """Wait for a server; of several take the one with the fewest open requests."""
        with self._changed:
            while True:
                self._check()
                ready = [member for member in self._members if member.is_up]
                if ready:
                    chosen = min(ready, key=lambda one: (one.server is avoid, one.num_open))
                    chosen.num_open += 1
                    return chosen
                self._changed.wait(self._patience_left_s())

    def _check(self) -> None:
        """Raise what ends the extraction."""
        if self._stopped.is_set():
            raise StoppedError
        if self._error is not None:
            raise self._error
        if not self.num_up and self._patience_left_s() <= 0:
            states = "; ".join(f"{member.server.url} {member.problem}" for member in self._members)
            raise ServersAwayError(
                f"no face server is left ({states}); start one again and repeat the command, what "
                "was done stays"
            )

    def _patience_left_s(self) -> float:
        return self._away_since + self._options.give_up_s - time.monotonic()

    def _compare(self, member: _Member, body: bytes, answer: FaceAnswer) -> None:
        """Count an answer, keep the first face to compare others with, refuse another network."""
        with self._changed:
            member.num_answers += 1
            if answer.model is not None and self._model not in (None, answer.model):
                self._error = OtherNetworkError(
                    f"{member.server.url} answers as the network {answer.model!r}, this extraction "
                    f"is with {self._model!r}"
                )
                raise self._error
            self._model = self._model or answer.model
            if self._reference is None and answer.faces:
                self._reference = ReferenceImage(body, answer.faces[0].embedding)
                self._changed.notify_all()

    def _drop(self, member: _Member, problem: ServerAwayError) -> None:
        with self._changed:
            if not member.is_up:
                return
            member.is_up, member.problem = False, str(problem)
            if not self.num_up:
                self._away_since = time.monotonic()
            self._changed.notify_all()
        logger.warning(f"{member.server.url} is away ({problem}); looking for it again")
        self._watch(member)

    def _watch(self, member: _Member) -> None:
        """Look for a server in a thread of its own, until it is in use."""
        threading.Thread(target=self._look_for, args=(member,), daemon=True).start()

    def _look_for(self, member: _Member) -> None:
        waits_s = self._options.probe_waits_s
        for wait_s in itertools.chain(waits_s, itertools.repeat(waits_s[-1])):
            if self._stopped.wait(wait_s):
                return
            try:
                self._admit(member)
                return
            except (AnswerError, ServerAwayError) as problem:
                member.problem = str(problem)
            except Exception as error:  # noqa: BLE001 - `ask` raises it; OtherNetworkError for one
                self._end(error)
                return

    def _admit(self, member: _Member) -> None:
        """Use a server if it answers, and as the same network as the others.

        While no face is known to compare with, it waits for the server in use to find one.
        """
        if self._reference is None:
            member.server.probe()
            with self._changed:
                self._changed.wait_for(
                    lambda: self._reference or self._stopped.is_set() or not self.num_up
                )
                if self._reference is None:
                    self._use(member)
                    return
        self._reference.check(member.server.ask_body(self._reference.body), member.server.url)
        with self._changed:
            self._use(member)

    def _use(self, member: _Member) -> None:
        member.is_up = not self._stopped.is_set()
        self._changed.notify_all()

    def _end(self, error: Exception) -> None:
        """Let every request raise an error."""
        with self._changed:
            self._error = error
            self._changed.notify_all()
