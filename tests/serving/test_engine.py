import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from serving_helpers import Floats, expected_of, settings_of, vectors
from torch import Tensor

from serving import engine as engine_module
from serving.engine import ClosedError, InferenceEngine
from serving.models import ModelPair, load_pair
from serving.predictions import FacePredictions


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    settings = settings_of(tmp_path_factory.mktemp("models"))
    paths = settings["age_model"], settings["gender_model"]
    return load_pair(*paths, torch.device("cpu"), torch.float32)


@pytest.fixture
def engine(pair: ModelPair) -> Iterator[InferenceEngine]:
    running = InferenceEngine(pair, threads=1)
    yield running
    running.close()


class Held:
    """Holds the engine's thread at a method, until it is let go."""

    def __init__(self, engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.arrived, self.free = threading.Event(), threading.Event()
        self.sizes: list[int] = []
        original = getattr(engine, name)

        def held(argument: Any) -> Any:
            self.arrived.set()
            assert self.free.wait(20)
            self.sizes.append(len(argument))
            return original(argument)

        monkeypatch.setattr(engine, name, held)


def wait_until_waiting(engine: InferenceEngine, num_jobs: int) -> None:
    """Wait for the requests of other threads to stand in the queue."""
    ready = threading.Event()
    while not ready.wait(0.001):
        if len(engine._waiting) >= num_jobs:
            ready.set()


def assert_of(prediction: FacePredictions, embeddings: Floats) -> None:
    ages, genders = expected_of(embeddings)
    np.testing.assert_allclose(prediction.ages, ages, atol=1e-3)
    np.testing.assert_allclose(prediction.gender.probabilities, genders, atol=1e-5)


@pytest.mark.parametrize("num_faces", [1, 2, 33, 2048, 2049, 5000])
def test_an_answer_is_that_of_the_modules_however_many_faces(
    engine: InferenceEngine, num_faces: int
) -> None:
    embeddings = vectors(num_faces)
    assert_of(engine.predict(embeddings), embeddings)


def test_requests_that_wait_become_one_batch_and_each_gets_its_own_answer(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(engine, monkeypatch, "_predict")
    all_vectors = [vectors(1 + number % 4, seed=number) for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        first = pool.submit(engine.predict, all_vectors[0])
        assert held.arrived.wait(20)
        others = [pool.submit(engine.predict, each) for each in all_vectors[1:]]
        wait_until_waiting(engine, 19)
        held.free.set()
        for embeddings, future in zip(all_vectors, [first, *others], strict=True):
            assert_of(future.result(20), embeddings)
    assert held.sizes == [1, sum(map(len, all_vectors)) - 1]


def test_a_batch_of_several_requests_has_a_limit(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_BATCH_ROWS", 10)
    held = Held(engine, monkeypatch, "_predict")
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(engine.predict, vectors(4))]
        assert held.arrived.wait(20)
        futures += [pool.submit(engine.predict, vectors(4)) for _ in range(6)]
        wait_until_waiting(engine, 6)
        held.free.set()
        for future in futures:
            assert_of(future.result(20), vectors(4))
    assert held.sizes == [4, 12, 12]


def test_many_threads_at_once_get_their_own_answers(engine: InferenceEngine) -> None:
    def ask(number: int) -> None:
        embeddings = vectors(1 + number % 3, seed=number)
        prediction = engine.predict(embeddings, num_passes=(number % 5 == 0) * 3)
        assert len(prediction.ages) == len(embeddings)
        if number % 5:
            assert_of(prediction, embeddings)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(300)))


def test_the_mean_over_passes_comes_in_chunks_of_rows(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHUNK_ROWS", 10)
    chunks: list[int] = []
    sampled = type(engine.pair.age.sampled[0])
    original = sampled.passes

    def passes(net: Any, start: Any, num_passes: int) -> Tensor:
        chunks.append(num_passes)
        return original(net, start, num_passes)

    monkeypatch.setattr(sampled, "passes", passes)
    prediction = engine.predict(vectors(4), num_passes=7)
    assert chunks == [2, 2] * 3 + [1, 1]  # of both models
    np.testing.assert_allclose(prediction.age.probabilities.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(prediction.gender.probabilities.sum(1), 1, atol=1e-5)
    engine.predict(vectors(11), num_passes=2)
    assert chunks[8:] == [1] * 4  # more faces than rows in a chunk: a pass at a time


def test_the_mean_over_many_passes_is_near_the_answer_without_dropout(
    engine: InferenceEngine,
) -> None:
    torch.manual_seed(0)
    embeddings = vectors(3)
    sampled, plain = engine.predict(embeddings, num_passes=2000), engine.predict(embeddings)
    np.testing.assert_allclose(sampled.age.probabilities, plain.age.probabilities, atol=0.02)
    assert not np.array_equal(sampled.age.probabilities, plain.age.probabilities)


def test_a_request_without_passes_is_answered_between_the_chunks_of_one_with(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHUNK_ROWS", 1)
    events: list[str] = []
    step, go_on = threading.Event(), threading.Event()
    original, original_answer = engine._advance, engine._answer

    def answer(jobs: Any) -> None:
        events.extend(["answer"] * len(jobs))
        original_answer(jobs)

    def advance(samplings: Any) -> None:
        events.append("chunk")
        if len(events) == 2:
            step.set()
            assert go_on.wait(20)
        original(samplings)

    monkeypatch.setattr(engine, "_advance", advance)
    monkeypatch.setattr(engine, "_answer", answer)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(engine.predict, vectors(1), 5)
        assert step.wait(20)
        quick = pool.submit(engine.predict, vectors(2))
        wait_until_waiting(engine, 1)
        go_on.set()
        assert_of(quick.result(20), vectors(2))
        slow.result(20)
    assert events == ["chunk", "chunk", "answer", "chunk", "chunk", "chunk"]


def test_requests_with_passes_take_turns(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "CHUNK_ROWS", 1)
    held = Held(engine, monkeypatch, "_advance")
    fronts: list[int] = []
    original = engine_module._Sampling.advance

    def advance(sampling: Any) -> None:
        fronts.append(sampling.job.num_passes)
        original(sampling)

    monkeypatch.setattr(engine_module._Sampling, "advance", advance)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(engine.predict, vectors(1), 4)
        assert held.arrived.wait(20)
        second = pool.submit(engine.predict, vectors(1), 3)
        wait_until_waiting(engine, 1)
        held.free.set()
        first.result(20)
        second.result(20)
    assert fronts == [4, 4, 3, 4, 3, 4, 3]


def test_what_goes_wrong_is_raised_where_it_was_asked_and_the_thread_goes_on(
    engine: InferenceEngine,
) -> None:
    for num_passes in (0, 3):
        with pytest.raises(RuntimeError, match=r"shapes|size"):
            engine.predict(np.ones((2, 7), np.float32), num_passes)
        assert_of(engine.predict(vectors(2)), vectors(2))


def test_an_error_in_the_middle_of_the_passes_ends_that_request_alone(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def advance(_: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(engine_module._Sampling, "advance", advance)
        with pytest.raises(ZeroDivisionError):
            engine.predict(vectors(1), 5)
    assert len(engine.predict(vectors(1), 5).ages) == 1


def test_waiting_ends_with_the_time_given_and_the_engine_goes_on(
    engine: InferenceEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(engine, monkeypatch, "_predict")
    with pytest.raises(TimeoutError):
        engine.predict(vectors(1), timeout_s=0.01)
    held.free.set()
    assert_of(engine.predict(vectors(3)), vectors(3))


def test_closing_finishes_what_waits_and_refuses_what_comes(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = InferenceEngine(pair, threads=1)
    held = Held(engine, monkeypatch, "_predict")
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(engine.predict, vectors(1))]
        assert held.arrived.wait(20)
        futures += [pool.submit(engine.predict, vectors(2)) for _ in range(3)]
        futures += [pool.submit(engine.predict, vectors(2), 50) for _ in range(2)]
        wait_until_waiting(engine, 5)
        closing = pool.submit(engine.close)
        while not engine._is_closed:
            threading.Event().wait(0.001)
        with pytest.raises(ClosedError, match="stopping"):
            engine.predict(vectors(1))
        held.free.set()
        closing.result(20)
        assert [len(future.result(20).ages) for future in futures] == [1, 2, 2, 2, 2, 2]
    assert not engine._thread.is_alive()


@pytest.mark.parametrize(("num_cores", "omp_num_threads"), [(4, 2), (2, 4)])
def test_many_faces_use_the_cores_there_are_or_fewer_where_openmp_is_told_so(
    num_cores: int, omp_num_threads: int, pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(engine_module, "available_cores", lambda: num_cores)
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: (counts or [omp_num_threads])[-1])
    engine = InferenceEngine(pair)
    for num_faces in (1, 100):
        engine.predict(vectors(num_faces))
    engine.close()
    assert counts == [1, 2]


def test_one_face_uses_one_thread_and_many_faces_all_that_were_given(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", counts.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: counts[-1] if counts else 0)
    engine = InferenceEngine(pair, threads=3)
    for num_faces in (1, 2, 100, 100, 1):
        engine.predict(vectors(num_faces))
    engine.close()
    assert counts == [1, 3, 1]
