"""TensorBoard scalars of a run."""

from pathlib import Path
from typing import Any

from utils.log import get_logger


class Curves:
    """Writes an epoch's values as scalars: loss/train, loss/valid, accuracy/train, ..., lr.

    Args:
        log_dir: folder of the events.
        is_on: False, or a missing tensorboard package, makes every call do nothing.
    """

    def __init__(self, log_dir: Path, is_on: bool):
        self._writer: Any = None
        if not is_on:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            get_logger("trainer").warning("tensorboard is not installed: pip install tensorboard")
            return
        try:
            self._writer = SummaryWriter(str(log_dir))
        except (OSError, UnicodeEncodeError) as error:  # it takes no names but those in UTF-8
            get_logger("trainer").warning(f"No curves for TensorBoard in {log_dir}: {error}")

    def add(self, log: dict[str, float], lr: float) -> None:
        """Write the values of one epoch."""
        if self._writer is None:
            return
        epoch = int(log["epoch"])
        for name, value in log.items():
            metric = name.removeprefix("val_")
            split = "train" if metric == name else "valid"
            if name != "epoch":
                self._writer.add_scalar(f"{metric}/{split}", value, epoch)
        self._writer.add_scalar("lr", lr, epoch)

    def close(self) -> None:
        """Flush what was written."""
        if self._writer is not None:
            self._writer.close()
