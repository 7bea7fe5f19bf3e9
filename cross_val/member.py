"""One training in a stack.

Its best epoch stays in memory until it leaves: nearly every epoch may be the best one so far, and
writing each was a fifth of the time of a small study.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from base.epoch_files import Log
from data_loader.dataset import FaceDataset
from model.dropout import BitSource, bit_source
from trainer.trainer import Trainer
from utils.errors import DivergedError


@dataclass(eq=False)
class StackMember:
    """A training in a stack.

    Attributes:
        trainer: of a new training, its folders made.
        error: why it could not go on; None as long as it can, and when it is done.
        num_steps: steps that its optimizer made; after the first it has a state.
        bits: random ones, of its dropout masks.
        open_files: what its epochs write to, closed when it leaves.
    """

    trainer: Trainer
    error: DivergedError | None = None
    num_steps: int = field(default=0, init=False)
    bits: BitSource = field(init=False)
    open_files: ExitStack = field(default_factory=ExitStack, init=False)

    def __post_init__(self) -> None:
        self.trainer.files.keeps_best = True
        self.bits = bit_source(self.trainer.config["seed"], self.trainer.setup.device)

    @property
    def dataset(self) -> FaceDataset:
        """The faces that it trains and validates on."""
        dataset = self.trainer.setup.train_loader.dataset
        if not isinstance(dataset, FaceDataset):
            raise TypeError(f"a stack trains on a FaceDataset, not on a {type(dataset).__name__}")
        return dataset

    @property
    def num_whole_batches(self) -> int:
        """Batches of an epoch that have the full size."""
        order = self.trainer.setup.train_loader.order
        has_odd_end = len(order.rows) != len(order) * order.batch_size
        return len(order) - has_odd_end

    def rows_of_epoch(self) -> Tensor:
        """Return the indices (N,) among the faces of the next epoch's samples, in order."""
        order = self.trainer.setup.train_loader.order
        order.epoch, order.first_batch = self.trainer.progress.epoch + 1, 0
        return self.dataset.face_indices(torch.cat(list(order)))

    def finish_epoch(self, training: Log, rate: float, lr: float) -> bool:
        """Do what follows an epoch's batches; return whether the member leaves."""
        epoch = self.trainer.progress.epoch + 1
        try:
            if not math.isfinite(training["loss"]):
                raise DivergedError(
                    f"the loss became {training['loss']} in epoch {epoch}: lower the learning rate "
                    "(--lr), or train without amp (-o amp=false)"
                )
            self.trainer.finish_epoch(epoch, training, rate, lr)
        except DivergedError as error:
            self.error = error
        return self.error is not None or self.trainer.is_done
