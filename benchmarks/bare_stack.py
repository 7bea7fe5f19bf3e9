"""The floor under stacks: torch's own batched parts and nothing else."""

from collections.abc import Callable

import torch
from torch.nn import functional

from base.device import precision_of
from benchmarks.measuring import Seconds, timed
from cross_val.runs import RunResult, run_config
from model.inference import layers_of
from model.model import ResMLP
from trainer.data import training_loader
from utils.config import ConfigParser

NUM_MEMBERS, NUM_STEPS = 25, 40


def time_bare(config: ConfigParser, finished: list[RunResult]) -> Seconds:
    """Time a bare stack; scale it to the samples that the runs trained on."""
    step = _bare_step(config)

    def steps() -> None:
        for _ in range(NUM_STEPS):
            step()

    steps()
    duration, _ = timed(steps)
    num_steps = sum(_num_epochs(one) * _num_batches(config, one) for one in finished)
    return duration * num_steps / (NUM_STEPS * NUM_MEMBERS)


def _num_epochs(finished: RunResult) -> int:
    """Count the epochs of a run, by the lines of its log."""
    save_dir = finished.best_path.parent
    log_path = save_dir.parents[2] / "log" / save_dir.parent.name / save_dir.name / "info.log"
    return log_path.read_text(encoding="utf-8").count(" samples/s)")


def _num_batches(config: ConfigParser, finished: RunResult) -> int:
    """Count the batches of an epoch of a run."""
    return len(training_loader(run_config(config, finished.seed, finished.fold)))


def _bare_step(config: ConfigParser) -> Callable[[], None]:
    """Make a step of a stack of torch's own parts, without dropout, on the same batch each time."""
    arguments, precision = config["arch"]["args"], precision_of(config, torch.device("cpu"))
    layers = layers_of(ResMLP(**arguments))
    weights = [
        torch.randn(NUM_MEMBERS, *layer.linear.weight.shape).mul_(0.05).requires_grad_()
        for layer in layers
    ]
    biases = [torch.zeros(*weight.shape[:2], 1, requires_grad=True) for weight in weights]
    optimizer = torch.optim.AdamW([*weights, *biases], 1e-3, fused=True)
    shape = (
        NUM_MEMBERS,
        arguments["num_initial_features"],
        config["data_loader"]["args"]["batch_size"],
    )
    embeddings = torch.randn(shape)
    target = torch.randint(arguments["num_classes"], (NUM_MEMBERS, shape[2]))

    def step() -> None:
        with precision.autocast():
            x = skip = embeddings
            for layer, weight, bias in zip(layers, weights, biases, strict=True):
                skip = x if layer.opens_skip else skip
                if layer.norm is not None:
                    flat = x.reshape(1, -1, x.shape[2])
                    x = functional.batch_norm(flat, None, None, training=True).view(x.shape)
                x = torch.baddbmm(bias, weight, x)
                x = x + skip if layer.closes_skip else x
                x = x.relu() if layer.has_relu else x
            loss = functional.cross_entropy(x.transpose(1, 2).flatten(0, 1), target.flatten())
        optimizer.zero_grad()
        with precision.backward():
            loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
