"""Which epoch is the best, and when to stop."""

import math
from dataclasses import dataclass


@dataclass
class Monitor:
    """Follows one value over the epochs.

    Attributes:
        mode: "min", "max", or "off": then the last epoch counts as the best.
        metric: key of the epoch's log, such as "val_loss".
        patience: epochs without improvement after which to stop; 0 never stops.
        best: best value so far.
        best_epoch: its epoch; 0 for none yet.
        num_not_improved: epochs since.
    """

    mode: str
    metric: str = ""
    patience: int = 0
    best: float = math.nan
    best_epoch: int = 0
    num_not_improved: int = 0

    @classmethod
    def from_config(cls, monitor: str, patience: int) -> "Monitor":
        """Read "min val_loss", "max val_accuracy", or "off"."""
        mode, _, metric = monitor.partition(" ")
        return cls(mode, metric.strip(), patience)

    def update(self, epoch: int, log: dict[str, float]) -> bool:
        """Take in an epoch's log; tell whether it is the best so far."""
        if self.mode == "off":
            self.best_epoch = epoch
            return True
        value = log[self.metric]
        is_better = self.best_epoch == 0 or (
            value < self.best if self.mode == "min" else value > self.best
        )
        if is_better:
            self.best, self.best_epoch, self.num_not_improved = value, epoch, 0
        else:
            self.num_not_improved += 1
        return is_better

    @property
    def should_stop(self) -> bool:
        """True once `patience` epochs in a row brought nothing better."""
        return 0 < self.patience <= self.num_not_improved
