"""The engine that gives the runs of a cross-validation to Ray."""

import dataclasses
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from base.interrupt import StopRequest
from cluster.code import code_version
from cluster.folders import keep_run
from cluster.session import TaskResources, num_at_once, ray_session, remove_session
from cross_val.division import Division, divide
from cross_val.ray_progress import ProgressActor
from cross_val.ray_runs import PackedRun, RunOutcome, TaskSettings, run_remotely
from cross_val.runs import Engine, RunKey, RunResult
from trainer.data import SharedInputs
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ClusterError
from utils.locks import hold
from utils.log import get_logger
from utils.run_folders import lock_path, locked_path, taken_over

POLL_S = 0.5
SESSION = ".ray-"
MAX_RETRIES = 3
"""Times a run or stack begins again when its process or machine dies."""

MAX_NAMED_RUNS = 4
"""Runs under way that are told one by one."""


def ray_engine(
    share: TaskResources, address: str | None = None, stack_size: int | None = None
) -> Engine:
    """Make the engine that trains as many runs, or stacks of runs, at once as there is room for.

    Args:
        share: what a run or stack takes of a machine.
        address: of a running cluster; None starts Ray on this machine.
        stack_size: most runs trained together; None stacks them where each has a whole GPU.
    """

    def run(
        config: ConfigParser, runs: Sequence[RunKey], bar: Any, inputs: SharedInputs
    ) -> Generator[RunResult, None, None]:
        folder = Path(config["trainer"]["save_dir"]) / f"{SESSION}{os.getpid()}"
        _remove_killed_sessions(folder.parent)
        num_bytes = 0 if inputs.source is None else inputs.source.num_bytes()
        with _held(folder), ray_session(folder, address, num_bytes) as ray, StopRequest() as stop:
            division = divide(runs, share, stack_size, config["n_gpu"])
            get_logger("cross-val").info(f"Ray: {division}")
            yield from _ClusterRuns(ray, config, division, ray.put(inputs)).run(bar, stop)

    return run


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Let the folder of a session not pass for a killed one's."""
    with hold(lock_path(folder)) or nullcontext():
        yield


def _remove_killed_sessions(parent: Path) -> None:
    for lock in parent.glob(f".{SESSION}*.lock"):
        folder = locked_path(lock)
        with taken_over(lock, [folder]) as is_left:
            if is_left:
                remove_session(folder)


class _ClusterRuns:
    """The runs under way on a cluster."""

    def __init__(self, ray: Any, config: ConfigParser, division: Division, inputs: Any):
        self.ray = ray
        self.config = config
        self.share = division.share
        self.waiting = list(division.parts)
        self.inputs = inputs
        resources = self.share.resources()
        self.task = ray.remote(
            num_cpus=resources["CPU"], num_gpus=resources["GPU"], max_retries=MAX_RETRIES
        )(run_remotely)
        self.settings = ray.put(
            TaskSettings(config.config, self.share.cpus, code_version(), division.is_stacked)
        )
        self.progress = ray.remote(num_cpus=0, scheduling_strategy=_here(ray))(
            ProgressActor
        ).remote()
        self.under_way: dict[Any, list[RunKey]] = {}

    def run(self, bar: Any, stop: StopRequest) -> Iterator[RunResult]:
        """Yield the runs as they end; after a failure those under way, and then raise it."""
        failure: Exception | None = None
        while self.under_way or (self.waiting and failure is None):
            if failure is None:
                self._start()
            done, _ = self.ray.wait(list(self.under_way), timeout=POLL_S)
            if stop.is_set:
                raise Interrupted("interrupted; the same call again goes on", stop.exit_code)
            self._show(bar)
            for reference in done:
                outcomes = self._outcomes(reference)
                yield from (self._keep(one) for one in outcomes if isinstance(one, PackedRun))
                first = _first_failure(outcomes)
                failure = failure or first
        if failure is not None:
            raise failure

    def _start(self) -> None:
        """Start as many of those that wait as there is room for."""
        room = num_at_once(self.share.resources()) - len(self.under_way)
        for runs in self.waiting[: max(room, 0)]:
            self.waiting.remove(runs)
            reference = self.task.remote(self.settings, runs, self.inputs, self.progress)
            self.under_way[reference] = runs

    def _outcomes(self, reference: Any) -> list[RunOutcome]:
        """Take what became of the runs of a task; a task that failed as a whole has one outcome."""
        names = ", ".join(f"seed {seed}, fold {fold}" for seed, fold in self.under_way[reference])
        del self.under_way[reference]
        try:
            outcomes: list[RunOutcome] = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ImportError | MemoryError):
                raise  # of the program itself: with its traceback
            return [ClusterError(f"{names}: {_one_line(error.cause)}")]
        except self.ray.exceptions.RayError as error:
            return [ClusterError(f"{names}: {_one_line(error)}")]
        return outcomes

    def _keep(self, trained: PackedRun) -> RunResult:
        save_dir = keep_run(self.config, trained.models, trained.log)
        return dataclasses.replace(trained.result, best_path=save_dir / trained.best_name)

    def _show(self, bar: Any) -> None:
        epochs = self.ray.get(self.progress.read.remote())
        under_way = {run: epochs.get(run, 0) for runs in self.under_way.values() for run in runs}
        bar.set_postfix_str(describe_progress(under_way, self.config["trainer"]["epochs"]))


def describe_progress(under_way: dict[RunKey, int], num_epochs: int) -> str:
    """Describe in short how far the runs under way are.

    >>> describe_progress({(0, 3): 7, (0, 4): 5}, 20)
    'seed/fold 0/3 epoch 7 of 20, 0/4 epoch 5 of 20'
    >>> describe_progress({(seed, fold): 5 + seed for seed in range(5) for fold in range(5)}, 20)
    '25 under way, epochs 5 to 9 of 20'
    """
    if len(under_way) > MAX_NAMED_RUNS:
        first, last = min(under_way.values()), max(under_way.values())
        return f"{len(under_way)} under way, epochs {first} to {last} of {num_epochs}"
    parts = [f"{seed}/{fold} epoch {n} of {num_epochs}" for (seed, fold), n in under_way.items()]
    return "seed/fold " + ", ".join(parts) if parts else ""


def _first_failure(outcomes: list[RunOutcome]) -> Exception | None:
    """Log all failures, each once; return the first."""
    failures = {str(one): one for one in outcomes if isinstance(one, Exception)}
    for text in failures:
        get_logger("cross-val").warning(text)
    return next(iter(failures.values()), None)


def _here(ray: Any) -> Any:
    """Return the strategy that keeps an actor on the driver's machine, which must live anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
