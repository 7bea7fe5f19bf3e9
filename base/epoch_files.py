"""What the epochs of a run leave in its folder: checkpoints, and a line of values for each."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from utils.checkpoint import copy_checkpoint, load_checkpoint, save_checkpoint
from utils.config import ConfigParser

BEST_NAME = "model_best.pth"
INTERRUPTED_NAME = "checkpoint-interrupted.pth"
EPOCHS_NAME = "epochs.jsonl"
"""One line an epoch: its losses and metrics."""

Log = dict[str, float]

Completion = Callable[[dict[str, Any]], None]
"""Adds to the content of a checkpoint what is known only when the training ends."""


class EpochFiles:
    """Writes the checkpoints of a run.

    Args:
        config: of the run, whose folders exist when the first epoch begins.

    Attributes:
        keeps_best: hold the best epoch in memory, and write it when the training ends.
        earlier_best: checkpoint of the best epoch before the training was resumed.
    """

    def __init__(self, config: ConfigParser):
        self._config = config
        self._save_period: int = config["trainer"]["save_period"]
        self.keeps_best = False
        self.earlier_best: Path | None = None
        self._best: dict[str, Any] | None = None

    def begin(self) -> None:
        """Bring the best epoch of the training that is resumed."""
        if self.earlier_best is not None:
            copy_checkpoint(self.earlier_best, self._config.save_dir / BEST_NAME)

    def add(self, log: Log, is_best: bool, state: Callable[[], dict[str, Any]]) -> None:
        """Write the values of an epoch, and its state where that is to be kept."""
        folder, epoch = self._config.save_dir, int(log["epoch"])
        with (folder / EPOCHS_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(log) + "\n")
        is_period = self._save_period > 0 and epoch % self._save_period == 0
        if not is_best and not is_period:
            return
        content = state()
        if is_period:
            save_checkpoint(content, folder / f"checkpoint-epoch{epoch}.pth")
        if is_best and self.keeps_best:
            self._best = copy.deepcopy(content)
        elif is_best:
            save_checkpoint(content, folder / BEST_NAME)

    def end(self, complete: Completion | None) -> None:
        """Write the best epoch where it was held in memory, or is not whole yet.

        Args:
            complete: makes it whole; None where nothing is missing.
        """
        path, best = self._config.save_dir / BEST_NAME, self._best
        if complete is not None and best is None and path.is_file():
            best = load_checkpoint(path).content
        if best is not None:
            if complete is not None:
                complete(best)
            save_checkpoint(best, path)
            self._best = None

    def interrupt(self, state: dict[str, Any]) -> Path:
        """Write the state of a training that stops here."""
        path = self._config.save_dir / INTERRUPTED_NAME
        save_checkpoint(state, path)
        return path
