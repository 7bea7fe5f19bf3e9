"""All trials of a search in one display."""

import signal
from typing import Any

from ray.tune import Callback
from tqdm import tqdm

from search.trial import DISK_FULL, FAILURE
from utils.log import get_logger


def trial_name(trial: Any) -> str:
    """Return the name of a trial and its folder."""
    return f"trial-{trial.trial_id}"


class Display(Callback):  # type: ignore[misc]  # Ray is not type-checked
    """Shows how many trials are done, the best so far, and how far those under way are.

    Args:
        num_trials: of the whole search.
        num_epochs: that a trial has at most.
    """

    def __init__(self, num_trials: int, num_epochs: int):
        self.num_trials = num_trials
        self.num_epochs = num_epochs
        self.best = float("inf")
        self.under_way: dict[str, int] = {}
        self.done: set[str] = set()
        self._bar: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the bar: Ray saves this with the search."""
        return {**self.__dict__, "_bar": None}

    def get_state(self) -> dict[str, Any]:
        """Return what a search that goes on needs to know."""
        return {"best": self.best, "done": self.done}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take that in again."""
        self.best, self.done = state["best"], set(state["done"])

    def setup(self, *_: Any, **__: Any) -> None:
        """Open the bar."""
        self._bar = tqdm(total=self.num_trials, desc="trials", unit="trial", disable=None)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Take in an epoch of a trial."""
        if FAILURE not in result and "epoch" in result:
            self.under_way[trial.trial_id] = int(result["epoch"])
            self.best = min(self.best, result["val_loss"])
            self._show()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Take in the end of a trial."""
        report = trial.last_result or {}
        name = self._end(trial)
        if FAILURE in report:
            get_logger("search").warning(f"{name} failed: {report[FAILURE]}")
            if DISK_FULL in report[FAILURE]:
                signal.raise_signal(signal.SIGUSR1)  # Ray ends the search
        elif "best_val_loss" in report:
            epoch = int(report["epoch"])
            end = "" if epoch == self.num_epochs else f", stopped after {epoch}"
            get_logger("search").info(
                f"{name}: val_loss {report['best_val_loss']:.4f} in epoch "
                f"{int(report['best_epoch'])} of {self.num_epochs}{end}"
            )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Take in that a trial's process died, or a fault of the program."""
        name = self._end(trial)
        get_logger("search").warning(f"{name}: its process died or raised")

    def on_experiment_end(self, trials: list[Any], **_: Any) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()

    def _end(self, trial: Any) -> str:
        self.under_way.pop(trial.trial_id, None)
        self.done.add(trial.trial_id)
        self._bar.n = len(self.done)
        self._show()
        return f"{len(self.done)} of {self.num_trials}: {trial_name(trial)}"

    def _show(self) -> None:
        parts = [f"{name} {epoch}/{self.num_epochs}" for name, epoch in self.under_way.items()]
        self._bar.set_postfix_str(f"best {self.best:.4f}, under way: {', '.join(parts)}")
