"""Which epoch is the best, and when to stop."""

import math
from typing import Annotated, Literal, cast

from pydantic import AllowInfNan, ConfigDict, Field

from utils.problems import JsonObject

Count = Annotated[int, Field(ge=0)]
Mode = Literal["min", "max", "off"]


class Monitor(JsonObject):
    """Follows one value over the epochs.

    Attributes:
        mode: "off": the last epoch counts as the best.
        metric: key of the epoch's log, such as "val_loss".
        patience: epochs without improvement after which to stop; 0 never stops.
        best: best value so far.
        best_epoch: its epoch; 0 for none yet.
        num_not_improved: epochs since.
    """

    model_config = ConfigDict(frozen=False, extra="ignore")

    mode: Mode
    metric: str = ""
    patience: Count = 0
    best: Annotated[float, AllowInfNan()] = math.nan
    best_epoch: Count = 0
    num_not_improved: Count = 0

    @classmethod
    def from_config(cls, monitor: str, patience: int) -> "Monitor":
        """Read "min val_loss", "max val_accuracy", or "off"."""
        mode, _, metric = monitor.partition(" ")
        return cls(mode=cast("Mode", mode), metric=metric.strip(), patience=patience)

    def update(self, epoch: int, log: dict[str, float]) -> bool:
        """Take in an epoch's log; return whether it is the best so far."""
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
