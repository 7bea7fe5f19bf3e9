"""The optimizer steps of a stack: one for all neighbours whose optimizers would do the same.

Most of torch's optimizers treat every number by itself, so that a step of stacked weights is a step
of each. Neighbours of equal settings, schedule and number of steps are a group, which holds the
state of their optimizers, stacked as the weights are, for the batches of an epoch. Everybody else
steps alone: a member with another rate, all in their first step, which makes the state, and those
with a gradient scaler, which may leave out the step of any.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cross_val.member import StackMember
from trainer.components import build_optimizer

State = dict[str, Any]

BY_NUMBER = frozenset(
    {"Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD"}
)
"""Optimizers whose step of a number depends on no other number."""


def step_alone(member: StackMember, gradients: Iterable[Tensor]) -> None:
    """Change a member's weights by their gradients, in the order of the network's parameters."""
    _set_gradients(member.trainer.setup.model.parameters(), gradients)
    member.trainer.step()
    member.trainer.setup.optimizer.zero_grad()
    member.num_steps += 1


def _set_gradients(weights: Iterable[nn.Parameter], gradients: Iterable[Tensor]) -> None:
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient


class StackedSteps:
    """Steps through the whole batches of an epoch; close it before anyone looks at an optimizer.

    Args:
        members: of the stack, those with more batches first.
        weights: stacked (K, ...) in the order of the network's parameters; the members' are slices.
    """

    def __init__(self, members: Sequence[StackMember], weights: Sequence[Tensor]):
        self._members = members
        self._weights = weights
        self._groups: dict[int, _Group] = {}
        self._are_formed = False

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the weights of the first k members by their gradients (k, ...)."""
        num_active = len(gradients[0])
        if not self._are_formed and all(one.num_steps for one in self._members[:num_active]):
            self._form(num_active)
        index = 0
        while index < num_active:
            group = self._groups.get(index)
            if group is None:
                step_alone(self._members[index], [gradient[index] for gradient in gradients])
                index += 1
            else:
                group.step([gradient[group.indices] for gradient in gradients])
                index = group.indices.stop

    def close(self) -> None:
        """Return the optimizers their state back."""
        for group in self._groups.values():
            group.close()
        self._groups.clear()

    def _form(self, num_active: int) -> None:
        """Find the groups; all members of one have as many batches, so they end together."""
        self._are_formed = True
        for _, indices in groupby(range(num_active), lambda index: _kind(self._members[index])):
            first, *others = indices
            if others:
                together = slice(first, others[-1] + 1)
                weights = [weight[together] for weight in self._weights]
                self._groups[first] = _Group(together, self._members[together], weights)


class _Group:
    """Members that step as one.

    Attributes:
        indices: in the stack.
    """

    def __init__(self, indices: slice, members: Sequence[StackMember], weights: Sequence[Tensor]):
        self.indices = indices
        self._members = members
        self._weights = [nn.Parameter(weight) for weight in weights]
        self._optimizer = build_optimizer(members[0].trainer.config, self._weights)
        of_weights = zip(*map(_states, members), strict=True)
        for weight, states in zip(self._weights, of_weights, strict=True):
            self._optimizer.state[weight] = {
                key: _stack([state[key] for state in states]) for key in states[0]
            }

    def step(self, gradients: Sequence[Tensor]) -> None:
        _set_gradients(self._weights, gradients)
        settings = _settings(self._members[0].trainer.setup.optimizer)
        self._optimizer.param_groups[0].update(settings)
        self._optimizer.step()
        for member in self._members:
            member.trainer.step_schedule()
            member.num_steps += 1

    def close(self) -> None:
        """Write the state into the optimizers of the members."""
        for index, member in enumerate(self._members):
            setup = member.trainer.setup
            for weight, stacked in zip(setup.model.parameters(), self._weights, strict=True):
                for key, value in self._optimizer.state.get(stacked, {}).items():
                    own = value[index] if value.dim() else value
                    setup.optimizer.state[weight][key] = own.clone()


def _kind(member: StackMember) -> tuple[Any, ...]:
    """Describe what a member's steps do; neighbours that do the same step as one."""
    trainer, optimizer = member.trainer, member.trainer.setup.optimizer
    if trainer.scaler.is_enabled() or type(optimizer).__name__ not in BY_NUMBER:
        return (id(member),)
    schedule = trainer.setup.lr_scheduler.state_dict() if trainer.steps_scheduler_per_batch else {}
    num_batches = member.num_whole_batches
    return num_batches, member.num_steps, type(optimizer), _settings(optimizer), schedule


def _settings(optimizer: Optimizer) -> State:
    """Return the rate, the decay and the like, which schedules may change."""
    (group,) = optimizer.param_groups
    return {key: value for key, value in group.items() if key != "params"}


def _states(member: StackMember) -> list[State]:
    """Return what the optimizer knows of each weight, in the order of the network's parameters."""
    setup = member.trainer.setup
    return [setup.optimizer.state.get(weight, {}) for weight in setup.model.parameters()]


def _stack(values: list[Tensor]) -> Tensor:
    """Stack the members' values (K, ...); counts, which are equal, stay one."""
    return torch.stack(values) if values[0].dim() else values[0].clone()
