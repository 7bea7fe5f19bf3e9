"""The batch loop."""

import time
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from base.base_data_loader import BaseDataLoader
from base.base_trainer import BaseTrainer, Setup
from base.epoch_files import Log
from base.interrupt import StopRequest
from base.resume_state import Progress
from trainer.evaluate import evaluate, means, score
from utils.config import ConfigParser
from utils.errors import DivergedError

REFRESH_S = 0.5
"""Seconds between two looks at the loss: each makes a GPU wait."""


class Trainer(BaseTrainer):
    """Trains a network on batches of embeddings (B, D) and class numbers (B,)."""

    def __init__(
        self, setup: Setup, config: ConfigParser, on_epoch: Callable[[Log], None] | None = None
    ):
        super().__init__(setup, config, on_epoch)
        self.shows_progress = config["trainer"]["verbosity"] > 0

    def train_epoch(self, epoch: int, stop: StopRequest) -> Log | None:
        """Train on every batch that is left of the epoch.

        Raises:
            DivergedError: the loss became NaN or infinite; names epoch and batch.
        """
        setup, order = self.setup, self.setup.train_loader.order
        order.epoch, order.first_batch = epoch, self.progress.batch
        scores = self._scores(len(order))
        setup.model.train()
        with self._progress_bar(epoch) as bar:
            next_look = time.perf_counter() + REFRESH_S
            for batch, (embeddings, labels) in enumerate(setup.train_loader, order.first_batch):
                scores[batch] = self._train_batch(embeddings, labels)
                bar.update(len(labels))
                if stop.is_set and batch + 1 < len(order):
                    self._refuse_nan(epoch, scores)
                    self.progress = Progress(
                        epoch=epoch - 1, batch=batch + 1, scores=scores[: batch + 1].cpu()
                    )
                    return None
                if time.perf_counter() > next_look:
                    bar.set_postfix(
                        loss=f"{scores[batch, 0].item() / len(labels):.4f}", refresh=False
                    )
                    self._refuse_nan(epoch, scores)
                    next_look = time.perf_counter() + REFRESH_S
        self._refuse_nan(epoch, scores)
        return means(scores.sum(0), setup.train_loader.n_samples, setup.metrics)

    def evaluate(self, loader: BaseDataLoader) -> Log:
        """Return the loss and the metrics over a loader's rows, in eval mode."""
        setup = self.setup
        return evaluate(setup.model, loader, setup.criterion, setup.metrics, setup.precision)

    def _scores(self, num_batches: int) -> Tensor:
        """Make room for the sums of each batch, (batches, 1 + M), with those already known."""
        shape = (num_batches, 1 + len(self.setup.metrics))
        scores = torch.zeros(shape, dtype=torch.float64, device=self.setup.device)
        if self.progress.scores is not None:
            scores[: self.progress.batch] = self.progress.scores
        return scores

    def _train_batch(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        setup = self.setup
        target = labels.to(setup.device)
        with setup.precision.autocast():
            output = setup.model(embeddings.to(setup.device))
            loss = setup.criterion(output, target)
        setup.optimizer.zero_grad()
        with setup.precision.backward():
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.step()
        with torch.no_grad():
            return score(output, target, loss, setup.metrics)

    def step(self) -> None:
        """Change the weights by the gradients of a batch, and the rate by the schedule."""
        self.scaler.step(self.setup.optimizer)
        self.scaler.update()
        self.step_schedule()

    def step_schedule(self) -> None:
        """Change the rate, where the schedule does so after each batch."""
        if self.steps_scheduler_per_batch:
            self.setup.lr_scheduler.step()

    def _refuse_nan(self, epoch: int, scores: Tensor) -> None:
        is_finite = torch.isfinite(scores[:, 0])
        if is_finite.all():
            return
        batch = int((~is_finite).int().argmax())
        raise DivergedError(
            f"the loss became {scores[batch, 0].item()} at epoch {epoch}, batch {batch + 1} of "
            f"{len(scores)}: lower the learning rate (--lr), or train without amp (-o amp=false)"
        )

    def _progress_bar(self, epoch: int) -> "tqdm[None]":
        setup = self.setup
        return tqdm(
            desc=f"epoch {epoch}/{self.epochs}",
            total=setup.train_loader.n_samples,
            initial=self.progress.batch * setup.train_loader.order.batch_size,
            unit=" samples",
            unit_scale=True,
            leave=False,
            disable=None if self.shows_progress else True,
        )
