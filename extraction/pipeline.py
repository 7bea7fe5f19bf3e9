"""The flow of images: some threads decode, others send and store, the caller keeps count.

Threads are enough: Pillow decodes and resizes without the interpreter's lock.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

from extraction.pool import RequestError, ServerPool, StoppedError, Waits
from extraction.store import answer_path, is_of_one_path, write_answer
from faces.client import DEFAULT_TIMEOUT_S, FaceServer, ServerAwayError
from faces.errors import ImageError, one_picture
from faces.squares import DEFAULT_RESIZE, JPEG_QUALITY, picture_to_send
from faces.wire import encode_request
from utils.runtime import available_cores

POLL_S = 0.2
ABORT_S = 2.0
"""Seconds that a request may take to end whose connection was shut down."""

NOT_STORED = "answer cannot be stored"
READY_PER_REQUEST = 2
"""Pictures that are decoded ahead, for each request in flight: this bounds the memory."""

WAITING_PER_ROOM = 8
"""Pictures that may wait for another try, for each one that is decoded ahead or in flight."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How images are sent.

    Attributes:
        resize: side of the square in pixels; None or 0 sends the files as they are.
        jpeg_quality: of what is sent when it is resized.
        in_flight: requests at once, to all servers together.
        workers: threads that decode; None takes one for each processor.
        timeout_s: seconds that an answer may take.
        waits: how long to wait, where.
    """

    resize: int | None = DEFAULT_RESIZE
    jpeg_quality: int = JPEG_QUALITY
    in_flight: int = 16
    workers: int | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    waits: Waits = field(default_factory=Waits)

    @property
    def num_workers(self) -> int:
        """Threads that decode."""
        return self.workers or available_cores()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an image.

    Attributes:
        path: of the image, relative to the data set.
        reason: why it failed, in few words; None when its answer is stored.
        detail: why it failed, in full.
        is_unusable: the server answered that it cannot use the image, which is stored.
        is_unread: the image itself cannot be read; nothing was asked.
    """

    path: str
    reason: str | None = None
    detail: str = ""
    is_unusable: bool = False
    is_unread: bool = False


def request_for(path: Path, settings: Settings) -> bytes:
    """Read an image and make the request for it; raises `ImageError`."""
    with one_picture():
        return encode_request(picture_to_send(path, settings.resize, settings.jpeg_quality))


@dataclass(slots=True, eq=False)
class _Job:
    """An image on its way; `server` is where it failed last."""

    path: str
    request: Future[bytes]
    num_failures: int = 0
    server: FaceServer | None = None


@dataclass(frozen=True, slots=True)
class _Later:
    """A job that is to be tried again."""

    job: _Job
    wait_s: float


class Pipeline:
    """Sends images and stores the answers.

    Args:
        dataset_dir: folder that the paths are relative to.
        pool: answers the requests; is stopped at the end.
        settings: how images are sent.
    """

    def __init__(self, dataset_dir: Path, pool: ServerPool, settings: Settings) -> None:
        self.name = dataset_dir.name
        self._dataset_dir, self._pool, self._settings = dataset_dir, pool, settings
        self._ready: SimpleQueue[_Job | None] = SimpleQueue()
        self._events: SimpleQueue[Outcome | _Later | BaseException] = SimpleQueue()
        self._waiting: list[tuple[float, int, _Job]] = []
        self._numbers = itertools.count()
        self._num_pending = 0
        self._error: BaseException | None = None

    def outcomes(
        self, paths: Iterable[str], should_stop: Callable[[], bool]
    ) -> Generator[Outcome, None, None]:
        """Give the outcome of every image, in the order in which they come.

        Ends early when `should_stop` says so; the requests under way are waited for, for
        `waits.stop_s` at most.

        Raises:
            ServersAwayError, OtherNetworkError, OSError: what ends the extraction; every outcome
                was given before.
        """
        senders = [
            threading.Thread(target=self._send_all, daemon=True)
            for _ in range(self._settings.in_flight)
        ]
        executor = ThreadPoolExecutor(self._settings.num_workers, "decode")
        for sender in senders:
            sender.start()
        try:
            yield from self._feed(paths, executor, should_stop)
        finally:
            self._pool.stop()
            executor.shutdown(wait=False, cancel_futures=True)
            for _ in senders:
                self._ready.put(None)
        self._join(senders)
        while not self._events.empty():
            yield from self._next()
        if self._error is not None:
            raise self._error

    def _join(self, senders: Sequence[threading.Thread]) -> None:
        """Wait for the requests under way, and after a while no longer."""
        for wait_s, then in ((self._settings.waits.stop_s, self._pool.abort), (ABORT_S, None)):
            deadline = time.monotonic() + wait_s
            for sender in senders:
                sender.join(max(0.0, deadline - time.monotonic()))
            if then is not None and any(sender.is_alive() for sender in senders):
                then()

    def _feed(
        self, paths: Iterable[str], executor: ThreadPoolExecutor, should_stop: Callable[[], bool]
    ) -> Iterator[Outcome]:
        """Hand in images as others are done with, so that a bounded number is in memory."""

        def goes_on() -> bool:
            return self._error is None and not should_stop()

        for path in paths:
            while self._is_full() and goes_on():
                yield from self._next()
            if not goes_on():
                return
            self._submit(path, executor)
        while self._num_pending and goes_on():
            yield from self._next()

    def _is_full(self) -> bool:
        """Tell whether no image is to be added; those that wait for another try count little."""
        room = READY_PER_REQUEST * self._settings.in_flight + self._settings.num_workers
        num_waiting = len(self._waiting)
        return self._num_pending - num_waiting >= room or num_waiting >= WAITING_PER_ROOM * room

    def _submit(self, path: str, executor: ThreadPoolExecutor) -> None:
        self._num_pending += 1
        request = executor.submit(request_for, self._dataset_dir / path, self._settings)
        request.add_done_callback(lambda done: self._ready.put(_Job(path, done)))

    def _next(self) -> Iterator[Outcome]:
        """Give the next outcome, or none if none comes for a moment."""
        wait_s = self._put_back()
        try:
            event = self._events.get(timeout=wait_s)
        except Empty:
            return
        if isinstance(event, _Later):
            due = time.monotonic() + event.wait_s
            heapq.heappush(self._waiting, (due, next(self._numbers), event.job))
            return
        self._num_pending -= 1
        if isinstance(event, Outcome):
            yield event
        else:
            self._error = self._error or event

    def _put_back(self) -> float:
        """Hand in again the jobs whose time has come; give the seconds to wait for events."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._ready.put(heapq.heappop(self._waiting)[2])
        return min(POLL_S, self._waiting[0][0] - now) if self._waiting else POLL_S

    def _send_all(self) -> None:
        while (job := self._ready.get()) is not None:
            try:
                self._events.put(self._send(job))
            except (StoppedError, CancelledError):
                continue
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._events.put(error)

    def _send(self, job: _Job) -> Outcome | _Later:
        try:
            answer = self._pool.ask(job.request.result(), avoid=job.server)
        except ImageError as error:
            return Outcome(job.path, error.reason, str(error), is_unread=True)
        except RequestError as error:
            return self._failed(job, error)
        path = answer_path(self._dataset_dir / job.path, self._settings.resize)
        try:
            write_answer(path, answer.faces)
        except OSError as error:
            if not is_of_one_path(error):
                raise OSError(error.errno, error.strerror, str(path)) from error
            return Outcome(job.path, NOT_STORED, f"{NOT_STORED}: {error.strerror or error}")
        return Outcome(job.path, is_unusable=answer.faces is None)

    def _failed(self, job: _Job, error: RequestError) -> Outcome | _Later:
        """Have a request tried again after a wait that grows, or count it."""
        problem, waits_s = error.problem, self._settings.waits.retries_s
        if not problem.is_temporary or job.num_failures >= len(waits_s):
            return Outcome(job.path, problem.reason, str(problem))
        if isinstance(problem, ServerAwayError):
            wait_s = 0.0  # the pool does the waiting
        else:
            wait_s = max(waits_s[job.num_failures], problem.wait_s)
        job.num_failures += 1
        job.server = error.server
        return _Later(job, wait_s)
