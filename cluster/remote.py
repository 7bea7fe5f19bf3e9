"""One run of a cross-validation, on whatever machine Ray gives it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.base_trainer import Log
from cluster.code import code_version
from cluster.folders import Files, pack
from trainer.cross_val import run_one
from trainer.inputs import Inputs
from trainer.study_results import Finished, Run
from utils.config import ConfigParser
from utils.errors import ClusterError, UserError
from utils.runtime import limited_threads


@dataclass(frozen=True)
class Order:
    """What to run, and how.

    Attributes:
        config: of the cross-validation, checked.
        threads: of torch.
        code: version that the worker must have.
    """

    config: dict[str, Any]
    threads: int
    code: str


@dataclass(frozen=True)
class Sent:
    """A finished run and its files; the best checkpoint is `best_name` in `models`."""

    finished: Finished
    best_name: str
    models: Files
    log: Files


def run_remotely(order: Order, run: Run, inputs: Inputs, board: Any) -> Sent | Exception:
    """Train and evaluate; give the error that the user can mend instead of raising it.

    Args:
        order: the same for all runs.
        run: seed and fold.
        inputs: what the driver read; its arrays are views of the object store.
        board: actor that is told of epochs.
    """

    def tell(log: Log) -> None:
        board.note.remote(run, int(log["epoch"]))

    try:
        return _train(order, run, inputs, tell)
    except (UserError, OSError) as error:
        return error


def _train(order: Order, run: Run, inputs: Inputs, tell: Callable[[Log], None]) -> Sent:
    if code_version() != order.code:
        raise ClusterError(
            f"a node has another version of the code ({code_version()}; the driver {order.code})"
        )
    with limited_threads(order.threads), tempfile.TemporaryDirectory() as folder:
        config = ConfigParser(order.config, folder=Path(folder))
        finished = run_one(config, *run, on_epoch=tell, inputs=inputs)
        save_dir = finished.best_path.parent
        log_dir = Path(folder) / "log" / save_dir.relative_to(Path(folder) / "models")
        return Sent(finished, finished.best_path.name, pack(save_dir), pack(log_dir))


class Board:
    """Tells which epochs are done; an actor beside the driver."""

    def __init__(self) -> None:
        self._epochs: dict[Run, int] = {}

    def note(self, run: Run, epoch: int) -> None:
        """Take in that a run has done this many epochs."""
        self._epochs[run] = epoch

    def read(self) -> dict[Run, int]:
        """Give the epochs done by each run that began."""
        return self._epochs
