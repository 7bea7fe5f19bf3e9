"""How far the runs under way are, known to an actor that loads neither torch nor the networks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cross_val.runs import RunKey


class ProgressActor:
    """Knows which epochs are done; an actor of Ray beside the driver."""

    def __init__(self) -> None:
        self._epochs: dict[RunKey, int] = {}

    def note(self, run: "RunKey", epoch: int) -> None:
        """Take in that a run has done this many epochs."""
        self._epochs[run] = epoch

    def read(self) -> "dict[RunKey, int]":
        """Return the epochs done by each run that began."""
        return self._epochs
