"""Several face servers as one: the work shared out, dead ones dropped, all of them one network."""

import itertools
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from extraction.same_network import OtherNetworkError, ReferenceImage
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError, probe_body
from utils.errors import UserError
from utils.log import get_logger

logger = get_logger("extraction")


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds to wait, where; tests take milliseconds.

    Attributes:
        retries_s: before each new try of a request that failed.
        probes_s: before each look at a server that is away; the last one repeats.
        give_up_s: how long every server may be away.
        stop_s: after a stop, for the answers in flight.
    """

    retries_s: tuple[float, ...] = (0.2, 0.8, 3.0)
    probes_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
    give_up_s: float = 60.0
    stop_s: float = 3.0


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
    """A server of the pool; `problem` is why it is not up."""

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
        waits: how long to wait, where.
        reference: a picture of this extraction and its embedding, when there is one.
        model: name of the network, when it is known.
    """

    def __init__(
        self,
        servers: Sequence[FaceServer],
        waits: Waits,
        reference: ReferenceImage | None = None,
        model: str | None = None,
    ) -> None:
        self._members = [_Member(server) for server in servers]
        self._waits = waits
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
        if not any(member.is_up for member in self._members) and self._patience_left_s() <= 0:
            states = "; ".join(f"{member.server.url} {member.problem}" for member in self._members)
            raise ServersAwayError(
                f"no face server is left ({states}); start one again and repeat the command, what "
                "was done stays"
            )

    def _patience_left_s(self) -> float:
        return self._away_since + self._waits.give_up_s - time.monotonic()

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
            if not any(other.is_up for other in self._members):
                self._away_since = time.monotonic()
            self._changed.notify_all()
        logger.warning(f"{member.server.url} is away ({problem}); looking for it again")
        self._watch(member)

    def _watch(self, member: _Member) -> None:
        """Wait for a server in a thread of its own, until it is up."""
        threading.Thread(target=self._wait_for, args=(member,), daemon=True).start()

    def _wait_for(self, member: _Member) -> None:
        for wait_s in self._probe_waits():
            if self._stopped.wait(wait_s):
                return
            if self._admit(member):
                return

    def _probe_waits(self) -> Iterator[float]:
        return itertools.chain(self._waits.probes_s, itertools.repeat(self._waits.probes_s[-1]))

    def _admit(self, member: _Member) -> bool:
        """Use a server if it answers, and as the same network as the others; tell whether."""
        try:
            if self._reference is None:
                member.server.ask_body(probe_body())
                if self._admit_unchecked(member):
                    return True
            if self._reference is not None:
                answer = member.server.ask_body(self._reference.body)
                self._reference.check(answer, member.server.url)
        except (AnswerError, ServerAwayError) as problem:
            member.problem = str(problem)
            return False
        except Exception as error:  # noqa: BLE001 - `ask` raises it; OtherNetworkError for one
            self._error = error
        with self._changed:
            member.is_up = self._error is None
            self._changed.notify_all()
        return True

    def _admit_unchecked(self, member: _Member) -> bool:
        """Use a server without a face to compare with, if no other is in use that may find one."""
        with self._changed:
            while self._reference is None and not self._stopped.is_set():
                if not any(other.is_up for other in self._members):
                    member.is_up = True
                    self._changed.notify_all()
                    return True
                self._changed.wait()
            return False
