"""How a checkpoint says to go on: type and range of every field, before any is taken."""

import copy
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from utils.checkpoint import Checkpoint
from utils.checkpoint_fields import MAX_EPOCH, is_count, is_number, shown
from utils.errors import CheckpointError

if TYPE_CHECKING:
    from base.base_trainer import BaseTrainer

MODES = ("min", "max", "off")
PLATEAU_COUNTS = ("num_bad_epochs", "cooldown_counter", "last_epoch")
SCALER_NUMBERS = ("scale", "growth_factor", "backoff_factor")
SCALER_COUNTS = ("growth_interval", "_growth_tracker")
Problem = tuple[str, Any, str]
"""A field, what it holds, and what was expected."""


def refuse_state(trainer: "BaseTrainer", checkpoint: Checkpoint) -> None:
    """Check the state of a training that is to go on.

    Raises:
        CheckpointError: a field cannot be what training wrote; names it.
    """
    for field, got, expected in _problems(trainer, checkpoint):
        raise CheckpointError(
            f"{checkpoint.path} cannot be resumed: {field} is {_shown(got)}, expected {expected}; "
            "resume from another checkpoint, or start from its weights with "
            f"-o checkpoint={checkpoint.path}"
        )


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype)[6:]} of shape {tuple(value.shape)}"
    return shown(value)


def _problems(trainer: "BaseTrainer", checkpoint: Checkpoint) -> Iterator[Problem]:
    """Yield problems; what comes later may rely on there being none before."""
    state = checkpoint.content["resume"]
    for name in ("position", "monitor", "best_log", "scaler", "random"):
        if not isinstance(state.get(name), dict):
            yield f"resume.{name}", state.get(name), "a dict"
    yield from _position(checkpoint)
    yield from _monitor(state["monitor"], state["position"]["epoch"])
    yield from _best_log(state["best_log"], state["monitor"])
    if not is_number(state.get("base_lr")) or state["base_lr"] < 0:
        yield "resume.base_lr", state.get("base_lr"), "a learning rate, 0 or more"
    yield from _schedule(state.get("lr_scheduler"))
    yield from _scaler(state["scaler"])
    yield from _random(state["random"])
    yield from _optimizer(trainer, checkpoint)


def _position(checkpoint: Checkpoint) -> Iterator[Problem]:
    position = checkpoint.content["resume"]["position"]
    epoch, batch = position.get("epoch"), position.get("batch")
    planned = checkpoint.config["trainer"]["epochs"]
    most = min(planned, MAX_EPOCH) if is_count(planned) else MAX_EPOCH
    if not is_count(epoch, most):
        yield "resume.position.epoch", epoch, f"a whole number from 0 to {most:,}"
    if checkpoint.content.get("epoch") != epoch:
        yield "epoch", checkpoint.content.get("epoch"), f"{epoch}, as resume.position.epoch is"
    if not is_count(batch):
        yield "resume.position.batch", batch, "a whole number, 0 or more"
    scores, shape = position.get("scores"), (batch, 1 + len(checkpoint.config["metrics"]))
    if batch == 0 and scores is not None:
        yield "resume.position.scores", scores, "none at the end of an epoch"
    if batch > 0 and not _is_tensor(scores, torch.float64, shape):
        yield "resume.position.scores", scores, f"finite float64 of shape {shape}"


def _is_tensor(value: Any, dtype: torch.dtype, shape: tuple[int, ...]) -> bool:
    if not isinstance(value, Tensor) or value.dtype != dtype or tuple(value.shape) != shape:
        return False
    return bool(value.isfinite().all())


def _monitor(monitor: dict[str, Any], epoch: int) -> Iterator[Problem]:
    mode, best_epoch = monitor.get("mode"), monitor.get("best_epoch")
    if mode not in MODES:
        yield "resume.monitor.mode", mode, f"one of {', '.join(MODES)}"
    if not isinstance(monitor.get("metric"), str):
        yield "resume.monitor.metric", monitor.get("metric"), "the name of a metric"
    if not is_count(monitor.get("patience")):
        yield "resume.monitor.patience", monitor.get("patience"), "a whole number, 0 or more"
    for name in ("best_epoch", "num_not_improved"):
        if not is_count(monitor.get(name), epoch):
            yield f"resume.monitor.{name}", monitor.get(name), f"a whole number from 0 to {epoch}"
    best, may_be_nan = monitor.get("best"), best_epoch == 0 or mode == "off"
    if not is_number(best) and not (may_be_nan and isinstance(best, float) and math.isnan(best)):
        yield "resume.monitor.best", best, "a finite number"


def _best_log(log: dict[str, Any], monitor: dict[str, Any]) -> Iterator[Problem]:
    for name, value in log.items():
        if not is_number(value):
            yield f"resume.best_log.{name}", value, "a finite number"
    if log and monitor["best_epoch"] not in (0, log.get("epoch")):
        yield "resume.best_log.epoch", log.get("epoch"), f"{monitor['best_epoch']}, the best epoch"


def _schedule(state: Any) -> Iterator[Problem]:
    if state is not None and not isinstance(state, dict):
        yield "resume.lr_scheduler", state, "a dict or none"
    is_plateau = isinstance(state, dict) and PLATEAU_COUNTS[0] in state
    if is_plateau and not isinstance(state.get("best"), int | float):
        yield "resume.lr_scheduler.best", state.get("best"), "a number"
    for name in PLATEAU_COUNTS if is_plateau else ():
        if not is_count(state.get(name)):
            yield f"resume.lr_scheduler.{name}", state.get(name), "a whole number, 0 or more"


def _scaler(state: dict[str, Any]) -> Iterator[Problem]:
    for name in SCALER_NUMBERS if state else ():
        if not is_number(state.get(name)) or state[name] <= 0:
            yield f"resume.scaler.{name}", state.get(name), "a number above 0"
    for name in SCALER_COUNTS if state else ():
        if not is_count(state.get(name)):
            yield f"resume.scaler.{name}", state.get(name), "a whole number, 0 or more"


def _random(states: dict[str, Any]) -> Iterator[Problem]:
    cpu = torch.get_rng_state()
    if not _is_tensor(states.get("cpu"), torch.uint8, tuple(cpu.shape)):
        yield "resume.random.cpu", states.get("cpu"), f"uint8 of shape {tuple(cpu.shape)}"
    try:
        torch.Generator().set_state(states["cpu"])
    except RuntimeError:
        yield "resume.random.cpu", states["cpu"], "the state of a generator of torch"
    cuda = states.get("cuda")
    if cuda is not None and not (isinstance(cuda, Tensor) and cuda.dtype == torch.uint8):
        yield "resume.random.cuda", cuda, "uint8, the state of a generator of torch"


def _optimizer(trainer: "BaseTrainer", checkpoint: Checkpoint) -> Iterator[Problem]:
    content = checkpoint.content.get("optimizer") or {}
    groups, states = content.get("param_groups"), content.get("state")
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        yield "optimizer.param_groups", groups, "a list of one dict"
        return
    if not is_number(groups[0].get("lr")):  # a straight cycle that is prolonged ends below 0
        yield "optimizer.param_groups.lr", groups[0].get("lr"), "a finite number"
    if not isinstance(states, dict):
        yield "optimizer.state", states, "a dict"
        return
    if checkpoint.config["optimizer"]["type"] == trainer.config["optimizer"]["type"]:
        yield from _moments(states, _state_after_a_step(trainer.setup.optimizer))


def _state_after_a_step(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """Return the state that a step leaves, taken on a copy of the weights, without gradients."""
    tried = copy.deepcopy(optimizer)
    for group in tried.param_groups:
        for weight in group["params"]:
            weight.grad = torch.zeros_like(weight)
    tried.step()
    states: dict[int, dict[str, Any]] = tried.state_dict()["state"]
    return states


def _moments(states: dict[Any, Any], expected: dict[int, dict[str, Any]]) -> Iterator[Problem]:
    """Compare an optimizer's state with one of the same optimizer; before any step there is none.

    Names that the settings of now do not use may be there, as of a momentum that is off now.
    """
    if states and expected and states.keys() != expected.keys():
        yield "optimizer.state", sorted(map(str, states))[:3], f"{len(expected)} weights' states"
        return
    for index, state in states.items():
        if not isinstance(state, dict):
            yield f"optimizer.state.{index}", state, "a dict"
            return
        for name, like in expected.get(index, {}).items():
            value = state.get(name)
            is_optional = name == "momentum_buffer" and value is None
            if not is_optional and not _is_moment(value, like):
                yield (
                    f"optimizer.state.{index}.{name}",
                    value,
                    f"finite numbers like {_shown(like)}",
                )
        if "step" in state and not _is_step(state["step"]):
            yield f"optimizer.state.{index}.step", state["step"], "a whole number, 0 or more"


def _is_moment(value: Any, like: Any) -> bool:
    """Tell whether a value can stand where an optimizer of this kind has `like`."""
    if isinstance(like, Tensor) and isinstance(value, Tensor):
        is_real = value.is_floating_point() or not (like.is_floating_point() or value.is_complex())
        return is_real and value.shape == like.shape and bool(value.isfinite().all())
    is_scalar = not isinstance(like, Tensor) or like.dim() == 0
    return is_scalar and is_number(value)


def _is_step(value: Any) -> bool:
    number = float(value) if isinstance(value, Tensor) and value.numel() == 1 else value
    return is_number(number) and number >= 0 and float(number).is_integer()
