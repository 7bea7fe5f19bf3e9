"""One thread runs the networks: for all requests that wait at the moment, as one batch.

Networks this small are a handful of operations; threads that run them side by side fight over the
interpreter and the cores. Passes with dropout are cut into chunks, between which the faces of other
requests have their turn.
"""

import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.mc_dropout import SampledNet
from serving.face_confidence import PlainProbabilities
from serving.models import ModelPair
from serving.predictions import ClassProbabilities, FacePredictions, FloatArray
from utils.runtime import available_cores


class ClosedError(Exception):
    """The server is stopping."""


CHUNK_ROWS = 2048
"""Rows of a network at a time, about what the caches of a core hold."""

ONE_THREAD_ROWS = 32
"""Up to so many rows further threads cost more than they bring."""

MAX_BATCH_ROWS = 8192
"""Rows of different requests that are put together; one request may have more."""


@dataclass(frozen=True)
class _InferenceJob:
    """Faces to be looked at, and where the answer goes."""

    embeddings: FloatArray
    num_passes: int
    future: "Future[FacePredictions]" = field(default_factory=Future)


class _Sampling:
    """A job whose passes with dropout are under way."""

    def __init__(self, job: _InferenceJob, pair: ModelPair):
        self.job, self._pair = job, pair
        x = torch.from_numpy(job.embeddings).to(pair.device)
        self._models = [
            _SampledModel(model.sampled, x, job.num_passes) for model in (pair.age, pair.gender)
        ]

    @property
    def is_done(self) -> bool:
        """True if no pass is left to run."""
        return not any(model.num_left for model in self._models)

    def advance(self) -> None:
        """Run a chunk of the passes."""
        for model in self._models:
            model.advance(max(1, CHUNK_ROWS // len(self.job.embeddings)))

    def result(self) -> FacePredictions:
        """Return the mean over the passes."""
        pair, embeddings = self._pair, self.job.embeddings
        said = [ClassProbabilities.of_members(model.means()) for model in self._models]
        plain = _without_dropout(pair, embeddings) if pair.confidence.is_known else None
        return _join(pair, embeddings, said, plain)


class _SampledModel:
    """The networks of a model, which share the passes, and the sums (N, C) of their softmax."""

    def __init__(self, nets: Sequence[SampledNet], x: Tensor, num_passes: int):
        self._nets, self._starts = nets, [net.start(x) for net in nets]
        self._sums = [torch.zeros(len(x), net.num_classes, device=x.device) for net in nets]
        self._num_passes = self.num_left = -(-num_passes // len(nets))

    def advance(self, most: int) -> None:
        num_passes = min(most, self.num_left)
        if num_passes:
            for net, start, total in zip(self._nets, self._starts, self._sums, strict=True):
                total.add_(net.passes(start, num_passes).softmax(-1).sum(0))
        self.num_left -= num_passes

    def means(self) -> list[FloatArray]:
        return [(total / self._num_passes).cpu().numpy() for total in self._sums]


def _without_dropout(pair: ModelPair, embeddings: FloatArray) -> list[ClassProbabilities]:
    """Return what the age and the gender model say in one pass."""
    chunks = torch.split(torch.from_numpy(embeddings).to(pair.device), CHUNK_ROWS)
    members = (
        [torch.cat([net(x).softmax(1) for x in chunks]).cpu().numpy() for net in model.nets]
        for model in (pair.age, pair.gender)
    )
    return list(map(ClassProbabilities.of_members, members))


def _join(
    pair: ModelPair,
    embeddings: FloatArray,
    said: Sequence[ClassProbabilities],
    plain: Sequence[ClassProbabilities] | None,
) -> FacePredictions:
    """Put together what both models say, in all and without dropout, and what is known of them."""
    age, gender = said
    return FacePredictions(
        age=age,
        gender=gender,
        years=pair.years,
        is_in_distribution=pair.is_in_distribution(embeddings),
        plain=None if plain is None else PlainProbabilities(*(one.probabilities for one in plain)),
        pair_confidence=pair.confidence,
    )


def usable_threads() -> int:
    """Count the threads of torch that have a core.

    Those beyond OMP_NUM_THREADS, which torch heeds, would wait for each other.
    """
    return min(available_cores(), torch.get_num_threads())


class InferenceEngine:
    """Answers the requests of many threads; see the module.

    Attributes:
        threads: processor threads of a large batch.

    Args:
        pair: the models.
        threads: processor threads; 0 takes all there are, or OMP_NUM_THREADS where that is less.
    """

    def __init__(self, pair: ModelPair, threads: int = 0):
        self.pair = pair
        self.threads = threads or usable_threads()
        self._waiting: deque[_InferenceJob] = deque()
        self._wakeup = threading.Condition()
        self._is_closed, self._process = False, os.getpid()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._thread.start()

    @property
    def num_waiting(self) -> int:
        """Requests whose faces the networks have not begun with."""
        return len(self._waiting)

    def predict(
        self, embeddings: FloatArray, num_passes: int = 0, timeout_s: float | None = None
    ) -> FacePredictions:
        """Wait for the answer.

        Args:
            embeddings: (N, 512) float32, N at least 1.
            num_passes: passes with dropout whose mean is the answer; 0 for one pass without.
            timeout_s: seconds to wait; None without end.

        Raises:
            TimeoutError: no answer came in time.
            ClosedError: the engine is closed, or another process's.
        """
        job = _InferenceJob(embeddings, num_passes)
        if self._process != os.getpid():  # a fork has the models, and not the thread
            raise ClosedError("this process was forked from the one that loaded the models")
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

    def _take(self, is_busy: bool) -> list[_InferenceJob] | None:
        """Take what waits, up to a limit of rows; None when there will be nothing more."""
        with self._wakeup:
            while not (self._waiting or is_busy):
                if self._is_closed:
                    return None
                self._wakeup.wait()
            jobs: list[_InferenceJob] = []
            num_rows = 0
            while self._waiting and (not jobs or num_rows < MAX_BATCH_ROWS):
                jobs.append(self._waiting.popleft())
                num_rows += len(jobs[-1].embeddings)
            return jobs

    def _answer(self, jobs: list[_InferenceJob]) -> None:
        """Run the networks over the faces of all jobs at once."""
        if not jobs:
            return
        with _passing_on(jobs):
            parts = [job.embeddings for job in jobs]
            prediction = self._predict(parts[0] if len(parts) == 1 else np.concatenate(parts))
            start = 0
            for job in jobs:
                end = start + len(job.embeddings)
                job.future.set_result(prediction.rows(slice(start, end)))
                start = end

    def _predict(self, embeddings: FloatArray) -> FacePredictions:
        self._set_threads(len(embeddings))
        said = _without_dropout(self.pair, embeddings)
        return _join(self.pair, embeddings, said, said)

    def _advance(self, samplings: deque[_Sampling]) -> None:
        """Run a chunk of passes of the job in front, and put it behind the others."""
        sampling = samplings.popleft()
        with _passing_on([sampling.job]):
            self._set_threads(CHUNK_ROWS)
            sampling.advance()
            if sampling.is_done:
                sampling.job.future.set_result(sampling.result())
            else:
                samplings.append(sampling)

    def _set_threads(self, num_rows: int) -> None:
        threads = 1 if num_rows <= ONE_THREAD_ROWS else self.threads
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


@contextmanager
def _passing_on(jobs: list[_InferenceJob]) -> Iterator[None]:
    """Raise what goes wrong where the answer is waited for; the thread goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - raised again by the future
        for job in jobs:
            if not job.future.done():
                job.future.set_exception(error)
