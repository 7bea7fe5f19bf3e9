"""Many trainings of one architecture as one: a forward and a backward for all of them.

Each member is a trainer of its own, with its loaders, optimizer, schedule, monitor and checkpoints;
only the batches go through the networks together (`model.stacked`). A member takes the batches that
it would take alone, from its own rows in its own order; its dropout masks come from random bits of
its own. A member that is done, or diverges, leaves the stack.

Members are ordered by their number of whole batches, so that those still at work in an epoch are
always the first ones, and their weights a slice. The odd batch that may end an epoch is trained
alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from typing import cast

import torch
from torch import Tensor, nn

from base.epoch_files import Log
from base.interrupt import StopRequest
from cross_val.member import StackMember
from cross_val.stacked_steps import StackedSteps, step_alone
from model.metric import values_of
from model.model import ResMLP
from model.stacked import StackedResMLP
from trainer.evaluate import means
from utils.cli import Interrupted


class Stack:
    """Trains its members to their ends.

    Args:
        members: of the same architecture, batch size, loss, metrics, device and precision; their
            data sets are parts of the same faces.

    Raises:
        ValueError: their architectures or faces differ.
        TypeError: a network is no ResMLP, or a data set no FaceDataset.
    """

    def __init__(self, members: Sequence[StackMember]):
        self._members = sorted(members, key=lambda one: -one.num_whole_batches)
        self._networks = _stacked(self._members)
        self._setup = self._members[0].trainer.setup
        self._criterion: Callable[..., Tensor] = self._setup.criterion
        self._batch_size = self._setup.train_loader.order.batch_size
        self._embeddings, self._labels = _share_faces(self._members, self._setup.device)

    def train(self) -> Iterator[StackMember]:
        """Train all members, and yield each when it leaves; its network is its own again.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came; the members under way are lost.
        """
        with StopRequest() as stop, ExitStack() as files:
            for member in self._members:
                files.enter_context(member.open_files)
                member.open_files.enter_context(member.trainer.running())
            while self._members:
                yield from self._run_epoch(stop)

    def _run_epoch(self, stop: StopRequest) -> list[StackMember]:
        """Train every member for an epoch; return those that leave."""
        start, rates = time.perf_counter(), [one.trainer.lr for one in self._members]
        logs = self.train_epoch(stop)
        num_samples = sum(one.trainer.setup.train_loader.n_samples for one in self._members)
        rate = num_samples / (time.perf_counter() - start)
        leaving = [
            member
            for member, log, lr in zip(self._members, logs, rates, strict=True)
            if member.finish_epoch(log, rate, lr)
        ]
        if leaving:
            self._networks.release()
            self._members = [one for one in self._members if one not in leaving]
            if self._members:
                self._networks = _stacked(self._members)
        for member in leaving:
            member.open_files.close()
        return leaving

    def train_epoch(self, stop: StopRequest) -> list[Log]:
        """Return the mean loss and metrics over an epoch of every member, whatever its number.

        Raises:
            Interrupted: Ctrl-C or SIGTERM came.
        """
        shape = (len(self._members), 1 + len(self._setup.metrics))
        sums = torch.zeros(shape, dtype=torch.float64, device=self._setup.device)
        for member in self._members:
            member.trainer.setup.model.train()
        rows = [member.rows_of_epoch() for member in self._members]
        table = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self._setup.device)
        with closing(StackedSteps(self._members, self._networks.weights)) as steps:
            for batch in self._whole_batches(table):
                k = len(batch)
                of_batch, gradients = self._differentiate(slice(0, k), batch, stop)
                sums[:k] += of_batch
                steps.step(gradients)
        for index, batch in self._odd_batches(table):
            of_batch, gradients = self._differentiate(slice(index, index + 1), batch, stop)
            sums[index] += of_batch[0]
            step_alone(self._members[index], [gradient[0] for gradient in gradients])
        return [
            means(row, member.trainer.setup.train_loader.n_samples, self._setup.metrics)
            for member, row in zip(self._members, sums.cpu(), strict=True)
        ]

    def _whole_batches(self, table: Tensor) -> Iterator[Tensor]:
        """Yield the indices (k, B) of faces to train the first members on, from those (K, N)."""
        size, num_whole = self._batch_size, [one.num_whole_batches for one in self._members]
        for batch in range(num_whole[0]):
            k = sum(num > batch for num in num_whole)
            yield table[:k, batch * size : (batch + 1) * size]

    def _odd_batches(self, table: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield members by their index, and the indices (1, B) of faces left to train them on."""
        for index, member in enumerate(self._members):
            num_done = member.num_whole_batches * self._batch_size
            num_rows = member.trainer.setup.train_loader.n_samples
            if num_rows > num_done:
                yield index, table[index, None, num_done:num_rows]

    def _differentiate(
        self, members: slice, rows: Tensor, stop: StopRequest
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Run k members on rows (k, B).

        Returns:
            The sums (k, 1 + M) of loss and metrics, and the gradients (k, ...) of the weights,
            which the next batch overwrites.
        """
        if stop.is_set:
            raise Interrupted("interrupted; the same call again goes on", stop.exit_code)
        active, indices = self._members[members], rows.flatten()
        embeddings = self._embeddings.index_select(0, indices).view(*rows.shape, -1)
        target = self._labels.index_select(0, indices)
        with self._setup.precision.autocast():
            run = self._networks.forward(embeddings, members, [one.bits for one in active])
            output = run.logits.flatten(0, 1)
            losses = self._criterion(output, target, reduction="none").view(rows.shape)
        scaled = [
            one.trainer.scaler.scale(loss)
            for one, loss in zip(active, losses.mean(1).unbind(), strict=True)
        ]
        with self._setup.precision.backward():
            gradients = torch.autograd.grad(torch.stack(scaled).sum(), run.leaves)
        with torch.no_grad():
            values = [x.view(rows.shape) for x in values_of(self._setup.metrics, output, target)]
            sums = torch.stack([x.sum(1, dtype=torch.float64) for x in (losses, *values)], dim=1)
        return sums, gradients


def _stacked(members: Sequence[StackMember]) -> StackedResMLP:
    nets = [member.trainer.setup.model for member in members]
    if not all(isinstance(net, ResMLP) for net in nets):
        raise TypeError("only networks of type ResMLP can be stacked")
    return StackedResMLP(cast("list[ResMLP]", nets))


def _share_faces(members: Sequence[StackMember], device: torch.device) -> tuple[Tensor, Tensor]:
    """Put the faces on the device, once for all members; their embeddings and labels."""
    datasets = [member.dataset for member in members]
    first = datasets[0]
    if not all(
        one.embeddings.data_ptr() == first.embeddings.data_ptr()
        and torch.equal(one.labels, first.labels)
        for one in datasets
    ):
        raise ValueError("the members of a stack must train on parts of the same faces")
    embeddings, labels = first.embeddings.to(device), first.labels.to(device)
    for member in members:
        if member.trainer.setup.train_loader.num_workers == 0:  # other processes cannot reach them
            member.dataset.move(embeddings, labels)
    return embeddings, labels
