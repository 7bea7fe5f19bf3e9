"""The flow of images: threads read, send and store them, the caller keeps count.

Threads are enough: Pillow decodes and resizes without the interpreter's lock.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from extraction.inventory import is_of_one_path
from extraction.options import ExtractionOptions
from extraction.places import Places
from extraction.pool import RequestError, ServerPool, StoppedError
from extraction.stored_answers import answer_path, write_answer
from faces.client import FaceAnswer, FaceServer, ServerAwayError
from faces.errors import ImageError, one_picture
from faces.squares import picture_to_send
from faces.wire import encode_request
from http_client.retry import RetryPolicy

POLL_S = 0.2
ABORT_S = 2.0
"""Seconds that a request may take to end whose connection was shut down."""

NOT_STORED = "answer cannot be stored"
QUEUED_PER_THREAD = 2
"""Images that are handed in ahead, for each thread."""

WAITING_PER_THREAD = 16
"""Images that may wait for another try: then a server that is overloaded is sent no more."""


@dataclass(frozen=True, slots=True)
class ImageOutcome:
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


def request_for(path: Path, options: ExtractionOptions) -> bytes:
    """Read an image and make the request for it; raises `ImageError`."""
    with one_picture():
        return encode_request(picture_to_send(path, options.resize, options.jpeg_quality))


@dataclass(slots=True, eq=False)
class _ImageJob:
    """An image on its way; `server` is where it failed last."""

    path: str
    num_failures: int = 0
    server: FaceServer | None = None


@dataclass(frozen=True, slots=True)
class _Later:
    """A job that is to be tried again."""

    job: _ImageJob
    wait_s: float


class Pipeline:
    """Sends images and stores the answers.

    Args:
        places: where images lie, and where answers go.
        pool: answers the requests; is stopped at the end.
        options: how images are sent.
    """

    def __init__(self, places: Places, pool: ServerPool, options: ExtractionOptions) -> None:
        self.name = places.dataset_dir.name
        self._places, self._pool, self._options = places, pool, options
        self._retry = RetryPolicy(options.retry_waits_s)
        self._num_threads = options.num_workers + options.in_flight
        self._decoding = threading.Semaphore(options.num_workers)
        self._sending = threading.Semaphore(options.in_flight)
        self._jobs: SimpleQueue[_ImageJob | None] = SimpleQueue()
        self._events: SimpleQueue[ImageOutcome | _Later | BaseException] = SimpleQueue()
        self._waiting: list[tuple[float, int, _ImageJob]] = []
        self._numbers = itertools.count()
        self._num_pending = 0
        self._is_stopped = False
        self._error: BaseException | None = None

    def outcomes(
        self, paths: Iterable[str], should_stop: Callable[[], bool]
    ) -> Generator[ImageOutcome, None, None]:
        """Yield the outcome of every image, in the order in which they come.

        Ends early when `should_stop` says so; the requests under way are waited for, for
        `stop_s` at most.

        Raises:
            ServersAwayError, OtherNetworkError, OSError: what ends the extraction; every outcome
                was given before.
        """
        threads = [
            threading.Thread(target=self._work, daemon=True) for _ in range(self._num_threads)
        ]
        for thread in threads:
            thread.start()
        try:
            yield from self._feed(paths, should_stop)
        finally:
            self._is_stopped = True
            self._pool.stop()
            for _ in threads:
                self._jobs.put(None)
        self._join(threads)
        while not self._events.empty():
            yield from self._next()
        if self._error is not None:
            raise self._error

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for the requests under way, and after a while no longer."""
        for wait_s, then in ((self._options.stop_s, self._pool.abort), (ABORT_S, None)):
            deadline = time.monotonic() + wait_s
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            if then is not None and any(thread.is_alive() for thread in threads):
                then()

    def _feed(
        self, paths: Iterable[str], should_stop: Callable[[], bool]
    ) -> Iterator[ImageOutcome]:
        """Hand in images as others are done with, until all are."""

        def goes_on() -> bool:
            return self._error is None and not should_stop()

        for path in paths:
            while self._is_full() and goes_on():
                yield from self._next()
            if not goes_on():
                return
            self._num_pending += 1
            self._jobs.put(_ImageJob(path))
        while self._num_pending and goes_on():
            yield from self._next()

    def _is_full(self) -> bool:
        """Return whether no image is to be added; those that wait for another try count little."""
        num_waiting = len(self._waiting)
        return (
            self._num_pending - num_waiting >= QUEUED_PER_THREAD * self._num_threads
            or num_waiting >= WAITING_PER_THREAD * self._num_threads
        )

    def _next(self) -> Iterator[ImageOutcome]:
        """Yield the next outcome, or none if none comes for a moment."""
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
        if isinstance(event, ImageOutcome):
            yield event
        else:
            self._error = self._error or event

    def _put_back(self) -> float:
        """Hand in again the jobs whose time has come; return the seconds to wait for events."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._jobs.put(heapq.heappop(self._waiting)[2])
        return min(POLL_S, self._waiting[0][0] - now) if self._waiting else POLL_S

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._is_stopped:
                continue
            try:
                self._events.put(self._extract(job))
            except StoppedError:
                continue
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                self._events.put(error)

    def _extract(self, job: _ImageJob) -> ImageOutcome | _Later:
        """Read an image, send it, and store the answer."""
        try:
            with self._decoding:
                request = request_for(self._places.image(job.path), self._options)
            with self._sending:
                answer = self._pool.ask(request, avoid=job.server)
        except ImageError as error:
            return ImageOutcome(job.path, error.reason, str(error), is_unread=True)
        except RequestError as error:
            return self._failed(job, error)
        return self._store(job.path, answer)

    def _failed(self, job: _ImageJob, error: RequestError) -> ImageOutcome | _Later:
        """Have a request tried again after a wait that grows, or count it."""
        problem = error.problem
        wait_s = self._retry.next_wait_s(problem, job.num_failures)
        if isinstance(problem, ServerAwayError) and job.num_failures < len(self._retry.waits_s):
            wait_s = 0.0  # another server may answer, and the pool waits for one
        if wait_s is None:
            return ImageOutcome(job.path, problem.reason, str(problem))
        job.num_failures += 1
        job.server = error.server
        return _Later(job, wait_s)

    def _store(self, image_path: str, answer: FaceAnswer) -> ImageOutcome:
        path = answer_path(Path(self._places.beside_answer(image_path)), self._options.resize)
        try:
            write_answer(path, answer.faces)
        except OSError as error:
            if not is_of_one_path(error):
                raise
            reason = f"{NOT_STORED}: {error.strerror or error}"
            return ImageOutcome(image_path, NOT_STORED, reason)
        return ImageOutcome(image_path, is_unusable=answer.faces is None)
