"""Weights of checkpoints: held against those of a network, and loaded into it."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from utils.checkpoint import Checkpoint
from utils.errors import CheckpointError
from utils.log import get_logger


class Weight(NamedTuple):
    """A weight, or a statistic of batch norm, that a network has."""

    name: str
    shape: tuple[int, ...]
    is_floating: bool


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load all weights.

    Raises:
        CheckpointError: the weights do not fit; the message says which arch they are from.
    """
    check_fit(checkpoint, _weights_of(model.state_dict()))
    model.load_state_dict(checkpoint.state_dict)


def load_pretrained(
    model: nn.Module, checkpoint: Checkpoint, has_same_classes: bool = True
) -> None:
    """Start from the weights of another training; a last layer of other classes stays new.

    Args:
        model: to train.
        checkpoint: of the other training.
        has_same_classes: False where its classes are as many, and others.

    Raises:
        CheckpointError: other weights than those of the last layer do not fit.
    """
    own, loaded = model.state_dict(), checkpoint.state_dict
    last_layer = list(own)[-2:]
    weight, _ = last_layer
    has_last = all(name in loaded for name in last_layer)
    is_alike = has_last and all(loaded[name].shape == own[name].shape for name in last_layer)
    if not has_last or (is_alike and has_same_classes):
        load_weights(model, checkpoint)
        return
    kept = {name: value for name, value in loaded.items() if name not in last_layer}
    misfit = _misfit(_weights_of({k: v for k, v in own.items() if k not in last_layer}), kept)
    if misfit or own[weight].shape[1:] != loaded[weight].shape[1:]:
        raise CheckpointError(_explain(checkpoint, misfit or f"{weight} has another width"))
    _refuse_values(checkpoint, kept)
    model.load_state_dict(kept, strict=False)
    get_logger("checkpoint").info(
        f"{checkpoint.path} has {len(loaded[weight])} classes, this network "
        f"{'others' if is_alike else len(own[weight])}: all weights but the last layer's are taken"
    )


def check_fit(checkpoint: Checkpoint, expected: Iterable[Weight]) -> None:
    """Check that a checkpoint holds the weights of a network, which need not be built.

    Args:
        checkpoint: to be loaded.
        expected: weights of the network; taken no further than the checkpoint has such ones.

    Raises:
        CheckpointError: names, shapes or kinds differ; the message says which arch they are from.
            Or a weight is no finite number, or a variance is negative.
    """
    misfit = _misfit(expected, checkpoint.state_dict)
    if misfit:
        raise CheckpointError(_explain(checkpoint, misfit))
    _refuse_values(checkpoint, checkpoint.state_dict)


def _refuse_values(checkpoint: Checkpoint, weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        if not weight.to(torch.float32).isfinite().all():
            raise CheckpointError(
                f"{checkpoint.path}: holds weights that are no finite numbers ({name}); train it "
                "again, or take another checkpoint"
            )
        if name.endswith("running_var") and (weight < 0).any():
            raise CheckpointError(
                f"{checkpoint.path}: holds a negative variance ({name}); get the file again from "
                "where it came"
            )


def _weights_of(state_dict: dict[str, Tensor]) -> Iterator[Weight]:
    for name, weight in state_dict.items():
        yield Weight(name, tuple(weight.shape), weight.is_floating_point())


def _misfit(expected: Iterable[Weight], loaded: dict[str, Tensor]) -> str:
    """Describe where weights differ from those expected; empty if nowhere."""
    names = set()
    for name, shape, is_floating in expected:
        if name not in loaded:
            return f"it lacks {name}"
        weight = loaded[name]
        if tuple(weight.shape) != shape:
            return f"{name} has shape {tuple(weight.shape)}, expected {shape}"
        is_integer = not weight.is_floating_point() and not weight.is_complex()
        if weight.dtype == torch.bool or is_floating == is_integer or weight.is_complex():
            kind = "floating-point" if is_floating else "whole"
            return f"{name} holds {str(weight.dtype)[6:]}, expected {kind} numbers"
        names.add(name)
    unknown = loaded.keys() - names
    return f"it holds {min(map(str, unknown))}, which this network has not" if unknown else ""


def _explain(checkpoint: Checkpoint, misfit: str) -> str:
    arch = checkpoint.content.get("config")
    arch = arch.get("arch") if isinstance(arch, dict) else None
    remedy = f"; it was trained with arch {arch}: use that" if arch else ""
    return f"{checkpoint.path} does not fit the network of the config: {misfit}{remedy}"
