"""Runs networks with onnxruntime: on which device, with how many threads, in which batches."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from io import StringIO
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from face_networks.activations import with_fast_prelus
from face_networks.blobs import Floats
from face_networks.packs import PackError
from utils.log import get_logger
from utils.text import in_one_line

logger = get_logger("face_networks")

DeviceChoice = Literal["auto", "cpu", "cuda"]
DEVICES = get_args(DeviceChoice)
GPU_PACKAGE = "onnxruntime-gpu"
_GPU_REMEDY = (
    f"`pip uninstall onnxruntime` and `pip install '{GPU_PACKAGE}[cuda,cudnn]'`, have a driver of "
    "NVIDIA for its CUDA, or choose the device cpu"
)
_ONLY_FATAL = 4
CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"

Network = Callable[[Floats], Sequence[Floats]]
"""Takes inputs (N, ...), and returns the outputs in order; threads may call at once."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What networks may use.

    Attributes:
        device: "cpu" or "cuda".
        threads: that one run of a network uses on the CPU.
        batch: most inputs of one run, gathered from all callers.
    """

    device: str
    threads: int = 1
    batch: int = 1


class _Waiting(NamedTuple):
    inputs: Floats
    outputs: Future[Sequence[Floats]]


class Batches:
    """Runs a network on what several threads ask at the same time, as one batch.

    Nothing is waited for: while one batch runs, what is asked gathers for the next one.

    Args:
        network: takes any number of inputs.
        most: inputs of a batch; one call alone may have more.
    """

    def __init__(self, network: Network, most: int):
        self._run, self._most = network, most
        self._waiting: deque[_Waiting] = deque()
        self._changed, self._is_open = threading.Condition(), True
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def __call__(self, inputs: Floats) -> Sequence[Floats]:
        """Return the outputs of some inputs, once a batch that holds them has run.

        Raises:
            RuntimeError: the batches are closed.
            ValueError: the network has another number of outputs than of inputs.
        """
        asked = _Waiting(inputs, Future())
        with self._changed:
            if not self._is_open:
                raise RuntimeError("closed")
            self._waiting.append(asked)
            self._changed.notify()
        return asked.outputs.result()

    def close(self) -> None:
        """End, after all that waits has run."""
        with self._changed:
            self._is_open = False
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            try:
                shares = self._shares([asked.inputs for asked in batch])
            except Exception as error:  # noqa: BLE001 - raised again where it was asked
                for asked in batch:
                    asked.outputs.set_exception(error)
                continue
            for asked, share in zip(batch, shares, strict=True):
                asked.outputs.set_result(share)

    def _shares(self, inputs: Sequence[Floats]) -> list[Sequence[Floats]]:
        """Run inputs as one batch, and part its outputs again."""
        outputs = self._run(np.concatenate(inputs))
        *ends, num_inputs = np.cumsum([len(some) for some in inputs]).tolist()
        if any(len(output) != num_inputs for output in outputs):
            raise ValueError(f"outputs of {num_inputs} inputs cannot be told apart")
        return list(zip(*(np.split(output, ends) for output in outputs), strict=True))

    def _next(self) -> list[_Waiting]:
        """Wait for something to run, and take as much as fits into one batch; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._is_open)
            batch: list[_Waiting] = []
            room = self._most
            while self._waiting and (not batch or len(self._waiting[0].inputs) <= room):
                batch.append(self._waiting.popleft())
                room -= len(batch[-1].inputs)
        return batch


def candidates(device: DeviceChoice) -> list[str]:
    """Return the devices to try, in order.

    Raises:
        PackError: "cuda" is asked for, and onnxruntime has no such provider.
    """
    import onnxruntime

    if device == "cpu":
        return ["cpu"]
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if device == "cuda" and not has_cuda:
        raise PackError(f"the installed onnxruntime cannot use a GPU; {_GPU_REMEDY}")
    if device == "auto" and not has_cuda and _is_installed(GPU_PACKAGE):
        logger.warning(f"{GPU_PACKAGE} is installed and offers no GPU; using the CPU")
    return [*(["cuda"] if has_cuda else []), *(["cpu"] if device == "auto" else [])]


def _is_installed(package: str) -> bool:
    try:
        return bool(distribution(package))
    except PackageNotFoundError:
        return False


def _find_libraries() -> None:
    """Load CUDA and cuDNN where they are packages of pip, in which onnxruntime does not look."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_ONLY_FATAL)  # a device that fails has an error of ours
    with redirect_stdout(StringIO()):  # it prints what it does not find
        onnxruntime.preload_dlls()


def open_network(path: Path, resources: Resources, takes_batches: bool) -> Network:
    """Load a network's file.

    Raises:
        PackError: onnxruntime cannot load it, or not on this device.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = resources.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _ONLY_FATAL
    is_on_gpu = resources.device == "cuda"
    providers = [CUDA, CPU] if is_on_gpu else [CPU]
    if is_on_gpu:
        _find_libraries()
    try:
        model = path if is_on_gpu else with_fast_prelus(path)
        session = onnxruntime.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime's own, one a cause
        raise PackError(f"onnxruntime cannot load {path}: {in_one_line(error)}") from error
    if session.get_providers()[0] != providers[0]:
        raise PackError(f"onnxruntime found no GPU that it can use; {_GPU_REMEDY}")
    name = session.get_inputs()[0].name

    def run(inputs: Floats) -> list[Floats]:
        outputs: list[Floats] = session.run(None, {name: inputs})
        return outputs

    return Batches(run, resources.batch) if takes_batches and resources.batch > 1 else run
