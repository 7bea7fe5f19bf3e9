"""One thread runs the networks: for all requests that wait at the moment, as one batch.

Networks this small are a handful of operations; threads that run them side by side fight over the
interpreter and the cores. Passes with dropout are cut into chunks, between which the faces of other
requests have their turn.
"""

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from serving.models import ModelPair
from utils.runtime import available_cores

Floats = NDArray[np.float32]


class ClosedError(Exception):
    """The server is stopping."""


CHUNK_ROWS = 2048
"""Rows of a network at a time, about what the caches of a core hold."""

ONE_THREAD_ROWS = 32
"""Up to so many rows further threads cost more than they bring."""

MAX_BATCH_ROWS = 8192
"""Rows of different requests that are put together; one request may have more."""


@dataclass(frozen=True)
class Prediction:
    """What the models say of N faces; for passes with dropout the mean over the passes.

    Attributes:
        age_probabilities: (N, C) float32.
        gender_probabilities: (N, 2) float32, male and female.
        years: (C,) float32, what the age classes stand for.
        is_familiar: (N,) bool, the vector is of the network that the models were trained on; None
            where no model can tell.
    """

    age_probabilities: Floats
    gender_probabilities: Floats
    years: Floats
    is_familiar: NDArray[np.bool_] | None

    @property
    def ages(self) -> Floats:
        """The expectation over the classes, (N,) years."""
        return self.age_probabilities @ self.years

    @property
    def age_entropy(self) -> Floats:
        """(N,) nats."""
        return _entropy(self.age_probabilities)

    @property
    def gender_entropy(self) -> Floats:
        """(N,) nats."""
        return _entropy(self.gender_probabilities)

    def rows(self, start: int, end: int) -> "Prediction":
        """Give some of the faces."""
        familiar = None if self.is_familiar is None else self.is_familiar[start:end]
        age, gender = self.age_probabilities[start:end], self.gender_probabilities[start:end]
        return Prediction(age, gender, self.years, familiar)


def _entropy(probabilities: Floats) -> Floats:
    tiny = np.finfo(np.float32).tiny  # 0 x log 0 is 0
    entropy: Floats = -(probabilities * np.log(np.maximum(probabilities, tiny))).sum(1)
    return entropy


@dataclass(frozen=True)
class _Job:
    """Faces to be looked at, and where the answer goes."""

    embeddings: Floats
    num_passes: int
    future: "Future[Prediction]" = field(default_factory=Future)


class _Sampling:
    """A job whose passes with dropout are under way.

    Attributes:
        num_left: passes still to run.
    """

    def __init__(self, job: _Job, pair: ModelPair):
        self.job, self.num_left = job, job.num_passes
        self._pair, self._models = pair, (pair.age.sampled, pair.gender.sampled)
        embeddings = torch.from_numpy(job.embeddings).to(pair.device)
        self._starts = [model.start(embeddings) for model in self._models]
        self._sums = [
            torch.zeros(len(embeddings), model.num_classes, device=pair.device)
            for model in (pair.age, pair.gender)
        ]

    def advance(self) -> None:
        """Run a chunk of the passes."""
        num = min(max(1, CHUNK_ROWS // len(self.job.embeddings)), self.num_left)
        for model, start, sums in zip(self._models, self._starts, self._sums, strict=True):
            sums.add_(model.passes(start, num).softmax(-1).sum(0))
        self.num_left -= num

    def result(self) -> Prediction:
        """Give the mean over the passes."""
        age, gender = (sums / self.job.num_passes for sums in self._sums)
        return _prediction(self._pair, self.job.embeddings, age, gender)


def _prediction(pair: ModelPair, embeddings: Floats, age: Tensor, gender: Tensor) -> Prediction:
    years, familiar = pair.years.cpu().numpy(), pair.is_familiar(embeddings)
    return Prediction(age.cpu().numpy(), gender.cpu().numpy(), years, familiar)


class Engine:
    """Answers the requests of many threads; see the module.

    Args:
        pair: the models.
        threads: processor threads; 0 takes all there are.
    """

    def __init__(self, pair: ModelPair, threads: int = 0):
        self.pair = pair
        self._threads = threads or available_cores()
        self._waiting: deque[_Job] = deque()
        self._wakeup = threading.Condition()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    def predict(
        self, embeddings: Floats, num_passes: int = 0, timeout_s: float | None = None
    ) -> Prediction:
        """Wait for the answer.

        Args:
            embeddings: (N, 512) float32, N at least 1.
            num_passes: passes with dropout whose mean is the answer; 0 for one pass without.
            timeout_s: seconds to wait; None without end.

        Raises:
            TimeoutError: no answer came in time.
            ClosedError: the engine is closed.
        """
        job = _Job(embeddings, num_passes)
        with self._wakeup:
            if self._is_closed:
                raise ClosedError("the server is stopping")
            self._waiting.append(job)
            self._wakeup.notify()
        return job.future.result(timeout_s)

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._wakeup:
            self._is_closed = True
            self._wakeup.notify()
        self._thread.join()

    @torch.inference_mode()
    def _run(self) -> None:
        samplings: deque[_Sampling] = deque()
        while (jobs := self._take(is_busy=bool(samplings))) is not None:
            self._answer([job for job in jobs if not job.num_passes])
            for job in jobs:
                if job.num_passes:
                    with _passing_on([job]):
                        samplings.append(_Sampling(job, self.pair))
            if samplings:
                self._advance(samplings)

    def _take(self, is_busy: bool) -> list[_Job] | None:
        """Take what waits, up to a limit of rows; None when there will be nothing more."""
        with self._wakeup:
            while not (self._waiting or is_busy):
                if self._is_closed:
                    return None
                self._wakeup.wait()
            jobs: list[_Job] = []
            num_rows = 0
            while self._waiting and (not jobs or num_rows < MAX_BATCH_ROWS):
                jobs.append(self._waiting.popleft())
                num_rows += len(jobs[-1].embeddings)
            return jobs

    def _answer(self, jobs: list[_Job]) -> None:
        """Run the networks over the faces of all jobs at once."""
        if not jobs:
            return
        with _passing_on(jobs):
            parts = [job.embeddings for job in jobs]
            prediction = self._predict(parts[0] if len(parts) == 1 else np.concatenate(parts))
            start = 0
            for job in jobs:
                end = start + len(job.embeddings)
                job.future.set_result(prediction.rows(start, end))
                start = end

    def _predict(self, embeddings: Floats) -> Prediction:
        pair = self.pair
        self._set_threads(len(embeddings))
        x = torch.from_numpy(embeddings).to(pair.device)
        probabilities = [
            torch.cat([model.net(chunk).softmax(1) for chunk in torch.split(x, CHUNK_ROWS)])
            for model in (pair.age, pair.gender)
        ]
        return _prediction(pair, embeddings, *probabilities)

    def _advance(self, samplings: deque[_Sampling]) -> None:
        """Give the job in front a chunk of passes, and put it behind the others."""
        sampling = samplings.popleft()
        with _passing_on([sampling.job]):
            self._set_threads(CHUNK_ROWS)
            sampling.advance()
            if sampling.num_left:
                samplings.append(sampling)
            else:
                sampling.job.future.set_result(sampling.result())

    def _set_threads(self, num_rows: int) -> None:
        threads = 1 if num_rows <= ONE_THREAD_ROWS else self._threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def _passing_on(jobs: list[_Job]) -> Iterator[None]:
    """Raise what goes wrong where the answer is waited for; the thread goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again by the future
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)
