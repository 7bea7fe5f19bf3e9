"""Batches, and the choice of the device; no GPU is needed, and none is used."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from face_networks import runs
from face_networks.packs import PackError
from face_networks.runs import CPU, CUDA, Batches, candidates

Floats = NDArray[np.float32]


class Held:
    """Doubles numbers, and keeps the sizes of its batches; the first one waits to be let go."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.begun, self.free = threading.Event(), threading.Event()

    def __call__(self, inputs: Floats) -> list[Floats]:
        self.sizes.append(len(inputs))
        self.begun.set()
        assert self.free.wait(60)
        if (inputs < 0).any():
            raise ValueError("negative")
        return [2 * inputs, inputs + 1]


def rows(*values: float) -> Floats:
    return np.array(values, np.float32)[:, None]


def all_asked(network: Held, most: int, asked: list[Floats]) -> list[Any]:
    """Ask for all while the first batch is held, in order, and return what becomes of each."""
    batches = Batches(network, most)
    with ThreadPoolExecutor(len(asked)) as threads:
        answers = [threads.submit(batches, asked[0])]
        assert network.begun.wait(60)
        for number, inputs in enumerate(asked[1:], 1):
            answers.append(threads.submit(batches, inputs))
            while len(batches._waiting) < number:
                pass
        network.free.set()
        results = [answer.exception(60) or answer.result(60) for answer in answers]
    batches.close()
    return results


def test_what_is_asked_while_a_batch_runs_is_the_next_batch() -> None:
    network = Held()
    asked = [rows(1), rows(2, 3), rows(4), rows(5)]
    for inputs, (doubled, increased) in zip(asked, all_asked(network, 8, asked), strict=True):
        np.testing.assert_array_equal(doubled, 2 * inputs)
        np.testing.assert_array_equal(increased, inputs + 1)
    assert network.sizes == [1, 4]


def test_a_batch_holds_no_more_than_it_may_and_nobody_is_overtaken() -> None:
    network = Held()
    asked = [rows(1), rows(2, 3), rows(4, 5), rows(6), rows(7, 8, 9, 10)]
    all_asked(network, 3, asked)
    assert network.sizes == [1, 2, 3, 4]  # the last one alone has more


def test_an_error_reaches_all_of_its_batch_and_no_other() -> None:
    network = Held()
    results = all_asked(network, 2, [rows(1), rows(-1), rows(2), rows(3)])
    assert [type(result) for result in results] == [tuple, ValueError, ValueError, tuple]


@pytest.mark.parametrize("outputs", [np.float32(1), rows(1), rows(1, 2, 3)])
def test_outputs_that_cannot_be_told_apart_are_an_error_and_the_next_ones_are_answered(
    outputs: Any,
) -> None:
    left = [[outputs]]
    batches = Batches(lambda inputs: left.pop() if left else [inputs], 2)
    with ThreadPoolExecutor(1) as threads:
        with pytest.raises((ValueError, TypeError)):
            threads.submit(batches, rows(1, 2)).result(60)
        assert len(threads.submit(batches, rows(3)).result(60)) == 1
    batches.close()


def test_nothing_waits_for_batches_that_are_closed() -> None:
    batches = Batches(lambda inputs: [inputs], 2)
    batches.close()
    with ThreadPoolExecutor(1) as threads, pytest.raises(RuntimeError, match="closed"):
        threads.submit(batches, rows(1)).result(60)


def offer(monkeypatch: pytest.MonkeyPatch, *providers: str, gpu_package: bool = False) -> None:
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: list(providers))
    monkeypatch.setattr(runs, "_is_installed", lambda _: gpu_package)


def test_the_gpu_is_tried_first_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, CUDA, CPU)
    assert candidates("auto") == ["cuda", "cpu"]
    assert candidates("cuda") == ["cuda"]
    assert candidates("cpu") == ["cpu"]


def test_without_a_gpu_auto_takes_the_cpu_and_has_nothing_to_say(
    monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    offer(monkeypatch, "AzureExecutionProvider", CPU)
    assert candidates("auto") == ["cpu"]
    assert program_log.text == ""


def test_a_gpu_package_without_a_gpu_is_worth_a_line(
    monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    offer(monkeypatch, CPU, gpu_package=True)
    assert candidates("auto") == ["cpu"]
    assert [record.levelname for record in program_log.records] == ["WARNING"]
    assert "onnxruntime-gpu is installed and offers no GPU; using the CPU" in program_log.text


def test_a_gpu_that_is_asked_for_and_not_there_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    offer(monkeypatch, CPU)
    with pytest.raises(
        PackError, match=r"cannot use a GPU; .*pip install 'onnxruntime-gpu\[cuda,cudnn\]'"
    ):
        candidates("cuda")
