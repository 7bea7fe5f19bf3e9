"""The engine that gives the runs of a cross-validation to Ray."""

import dataclasses
import os
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

from base.interrupt import StopRequest
from cluster.code import code_version
from cluster.folders import keep_run
from cluster.remote import Board, Order, Sent, run_remotely
from cluster.session import Share, num_at_once, ray_session, refuse_too_much
from trainer.cross_val import Engine
from trainer.inputs import Inputs
from trainer.study_results import Finished, Run
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ClusterError
from utils.log import get_logger

POLL_S = 0.5
MAX_RETRIES = 3
"""Times a run begins again when its process or machine dies."""


def ray_engine(share: Share, address: str | None = None) -> Engine:
    """Make the engine that trains as many runs at once as there is room for.

    Args:
        share: what a run takes of a machine.
        address: of a running cluster; None starts Ray on this machine.
    """

    def run(
        config: ConfigParser, runs: Sequence[Run], bar: Any, inputs: Inputs
    ) -> Generator[Finished, None, None]:
        folder = Path(config["trainer"]["save_dir"]) / f".ray-{os.getpid()}"
        num_bytes = 0 if inputs.source is None else inputs.source.num_bytes()
        with ray_session(folder, address, num_bytes) as ray, StopRequest() as stop:
            refuse_too_much(share, ("--cpus", "--gpus"))
            study = _Study(ray, config, share, ray.put(inputs))
            yield from study.run(list(runs), bar, stop)

    return run


class _Study:
    """The runs under way on a cluster."""

    def __init__(self, ray: Any, config: ConfigParser, share: Share, inputs: Any):
        self.ray = ray
        self.config = config
        self.share = share
        self.inputs = inputs
        resources = share.resources()
        self.task = ray.remote(
            num_cpus=resources["CPU"], num_gpus=resources["GPU"], max_retries=MAX_RETRIES
        )(run_remotely)
        self.order = ray.put(Order(config.config, share.cpus, code_version()))
        self.board = ray.remote(num_cpus=0, scheduling_strategy=_here(ray))(Board).remote()
        self.under_way: dict[Any, Run] = {}
        cpus, gpus = resources["CPU"], resources["GPU"]
        get_logger("cross-val").info(
            f"Ray: {num_at_once(resources)} runs at once, each on {cpus:g} CPUs and {gpus:g} GPUs"
        )

    def run(self, runs: list[Run], bar: Any, stop: StopRequest) -> Iterator[Finished]:
        """Yield the runs as they end; after a failure those under way, and then raise it."""
        failure: Exception | None = None
        while self.under_way or (runs and failure is None):
            if failure is None:
                self._start(runs)
            done, _ = self.ray.wait(list(self.under_way), timeout=POLL_S)
            if stop.is_set:
                raise Interrupted("interrupted; the same call again goes on", stop.exit_code)
            self._show(bar)
            for reference in done:
                outcome = self._outcome(reference)
                if isinstance(outcome, Exception):
                    failure = failure or outcome
                else:
                    yield self._keep(outcome)
        if failure is not None:
            raise failure

    def _start(self, runs: list[Run]) -> None:
        """Start as many of the runs as there is room for, and take them off the list."""
        room = num_at_once(self.share.resources()) - len(self.under_way)
        for run in runs[: max(room, 0)]:
            runs.remove(run)
            reference = self.task.remote(self.order, run, self.inputs, self.board)
            self.under_way[reference] = run

    def _outcome(self, reference: Any) -> Sent | Exception:
        seed, fold = self.under_way.pop(reference)
        try:
            outcome: Sent | Exception = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            if not isinstance(error.cause, ImportError | MemoryError):
                raise  # of the program itself: with its traceback
            return ClusterError(f"seed {seed}, fold {fold}: {_one_line(error.cause)}")
        except self.ray.exceptions.RayError as error:
            return ClusterError(f"seed {seed}, fold {fold}: {_one_line(error)}")
        return outcome

    def _keep(self, sent: Sent) -> Finished:
        save_dir = keep_run(self.config, sent.models, sent.log)
        return dataclasses.replace(sent.finished, best_path=save_dir / sent.best_name)

    def _show(self, bar: Any) -> None:
        epochs = self.ray.get(self.board.read.remote())
        num_epochs = self.config["trainer"]["epochs"]
        parts = [
            f"{seed}/{fold} epoch {epochs.get((seed, fold), 0)} of {num_epochs}"
            for seed, fold in self.under_way.values()
        ]
        bar.set_postfix_str("seed/fold " + ", ".join(parts) if parts else "")


def _here(ray: Any) -> Any:
    """Give the strategy that keeps an actor on the driver's machine, which must not die anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
