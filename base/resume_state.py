"""How a checkpoint says to go on: type and range of every field, before any is taken."""

import copy
import math
import sys
from collections.abc import Iterator
from typing import Annotated, Any, TypeVar

import torch
from pydantic import AllowInfNan, ConfigDict, Field, SkipValidation
from torch import Tensor
from torch.optim import Optimizer

from base.monitor import Count, Monitor
from utils.checkpoint import Checkpoint
from utils.errors import CheckpointError
from utils.problems import JsonObject, Problem, problems_in
from utils.schema import MAX_EPOCH
from utils.text import shown

SavedState = TypeVar("SavedState", bound=JsonObject)


class Progress(JsonObject):
    """How far a training is: so many epochs done, and so many batches of the next one.

    Attributes:
        scores: (batches, 1 + metrics) float64, loss and metrics summed over each of these batches.
    """

    epoch: Annotated[int, Field(ge=0, le=MAX_EPOCH)] = 0
    batch: Count = 0
    scores: SkipValidation[Tensor | None] = None


class PlateauState(JsonObject):
    """What a ReduceLROnPlateau counted."""

    model_config = ConfigDict(extra="ignore")

    best: Annotated[float, AllowInfNan()]
    num_bad_epochs: Count
    cooldown_counter: Count
    last_epoch: Count


class ParameterGroup(JsonObject):
    """The settings of an optimizer; a straight cycle that is prolonged ends with a rate below 0."""

    model_config = ConfigDict(extra="ignore")

    lr: float


class OptimizerState(JsonObject):
    """The state of an optimizer with one group of weights, by weight and name."""

    param_groups: list[ParameterGroup] = Field(min_length=1, max_length=1)
    state: dict[int, dict[str, Any]]


class ResumeState(JsonObject):
    """How a training goes on.

    Attributes:
        position: how far it is.
        monitor: the best so far.
        best_log: losses and metrics of the best epoch; empty before the first.
        base_lr: learning rate of the config.
        lr_scheduler: the schedule's state.
        scaler: the gradient scaler's state; empty where none was needed.
        random: states of torch's generators: "cpu", and "cuda" where a GPU was used.
    """

    position: Progress
    monitor: Monitor
    best_log: dict[str, int | float]
    base_lr: float = Field(ge=0)
    lr_scheduler: dict[str, Any] | None = None
    scaler: dict[str, Annotated[int | float, Field(ge=0)]]
    random: dict[str, Any]


def read_resume_state(checkpoint: Checkpoint) -> ResumeState:
    """Read how to go on from a checkpoint.

    Raises:
        CheckpointError: a field cannot be what training wrote; names it.
    """
    state = read_state(ResumeState, checkpoint, checkpoint.content["resume"], "resume.")
    for problem in _contradictions(state, checkpoint):
        raise _refusal(checkpoint, problem)
    return state


def read_state(
    model: type[SavedState], checkpoint: Checkpoint, content: Any, prefix: str
) -> SavedState:
    """Read a part of a checkpoint's state, whose path is the prefix.

    Raises:
        CheckpointError: a field cannot be what training wrote; names it.
    """
    for problem in problems_in(model, content, prefix):
        raise _refusal(checkpoint, problem)
    return model.model_validate(content)


def _refusal(checkpoint: Checkpoint, problem: Problem) -> CheckpointError:
    return CheckpointError(
        f"{checkpoint.path} cannot be resumed: {problem}; resume from another checkpoint, or start "
        f"from its weights with -o checkpoint={checkpoint.path}"
    )


def _shown(value: Any) -> str:
    if isinstance(value, Tensor) and value.dim() > 0:
        return f"{str(value.dtype)[6:]} of shape {tuple(value.shape)}"
    return shown(value)


def _contradictions(state: ResumeState, checkpoint: Checkpoint) -> Iterator[Problem]:
    """Yield what is wrong among fields that are right by themselves."""
    progress, monitor, config = state.position, state.monitor, checkpoint.config
    epoch, batch = progress.epoch, progress.batch
    planned = config["trainer"]["epochs"]
    if type(planned) is int and epoch > planned:
        yield Problem("resume.position.epoch", f"{epoch}, expected at most {planned:,}")
    if checkpoint.content.get("epoch") != epoch:
        got = checkpoint.content.get("epoch")
        yield Problem("epoch", f"{shown(got)}, expected {epoch}, as resume.position.epoch is")
    shape = (batch, 1 + len(config["metrics"]))
    is_right = _is_finite(progress.scores, shape) if batch else progress.scores is None
    if not is_right:
        expected = f"finite float64 of shape {shape}" if batch else "none at the end of an epoch"
        yield Problem("resume.position.scores", f"{_shown(progress.scores)}, expected {expected}")
    for name in ("best_epoch", "num_not_improved"):
        if (got := getattr(monitor, name)) > epoch:
            yield Problem(f"resume.monitor.{name}", f"{got}, expected at most {epoch}")
    has_best = monitor.best_epoch > 0 and monitor.mode != "off"
    if math.isinf(monitor.best) or (has_best and math.isnan(monitor.best)):
        yield Problem("resume.monitor.best", f"{monitor.best}, expected a finite number")
    best = monitor.best_epoch
    if state.best_log and best not in (0, state.best_log.get("epoch")):
        got = state.best_log.get("epoch")
        yield Problem("resume.best_log.epoch", f"{shown(got)}, expected {best}, the best epoch")
    yield from _random_problems(state.random)


def _random_problems(states: dict[str, Any]) -> Iterator[Problem]:
    cpu, cuda = states.get("cpu"), states.get("cuda")
    try:
        torch.Generator().set_state(cpu)  # type: ignore[arg-type]
    except (TypeError, RuntimeError):
        text = f"{_shown(cpu)}, expected the state of a generator of torch"
        yield Problem("resume.random.cpu", text)
    if cuda is not None and not (isinstance(cuda, Tensor) and cuda.dtype == torch.uint8):
        text = f"{_shown(cuda)}, expected uint8, the state of a generator of torch"
        yield Problem("resume.random.cuda", text)


def _is_finite(scores: Any, shape: tuple[int, ...]) -> bool:
    is_tensor = isinstance(scores, Tensor) and scores.dtype == torch.float64
    return is_tensor and tuple(scores.shape) == shape and bool(scores.isfinite().all())


def refuse_moments(
    checkpoint: Checkpoint, states: dict[int, dict[str, Any]], optimizer: Optimizer
) -> None:
    """Check the saved moments of an optimizer of the same type.

    Names that the settings of now do not use may be there, as of a momentum that is off now.

    Raises:
        CheckpointError: they are not such as this optimizer could have.
    """
    expected = _state_after_a_step(optimizer)
    if states and expected and states.keys() != expected.keys():
        text = f"{sorted(states)[:3]}, expected {len(expected)} weights' states"
        raise _refusal(checkpoint, Problem("optimizer.state", text))
    for index, state in states.items():
        for name, like in expected.get(index, {}).items():
            value = state.get(name)
            is_optional = name == "momentum_buffer" and value is None
            if not is_optional and not _is_like(value, like, name == "step"):
                expected_text = f"finite numbers like {_shown(like)}"
                if name == "step":
                    expected_text = "a whole number, 0 or more"
                text = f"{_shown(value)}, expected {expected_text}"
                raise _refusal(checkpoint, Problem(f"optimizer.state.{index}.{name}", text))


def _state_after_a_step(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """Return the state that a step leaves, taken on a copy of the weights, without gradients."""
    tried = copy.deepcopy(optimizer)
    for group in tried.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    tried.step()
    states: dict[int, dict[str, Any]] = tried.state_dict()["state"]
    return states


def _is_number(value: Any) -> bool:
    """Return whether a value is a finite number of a float's range; true is none."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_like(value: Any, like: Any, is_count: bool) -> bool:
    """Return whether a value can stand where an optimizer of this kind has `like`."""
    if isinstance(like, Tensor) and isinstance(value, Tensor):
        is_real = value.is_floating_point() or not (like.is_floating_point() or value.is_complex())
        if not is_real or value.shape != like.shape or not value.isfinite().all():
            return False
    elif (isinstance(like, Tensor) and like.dim() > 0) or not _is_number(value):
        return False
    return not is_count or (value >= 0 and float(value).is_integer())
