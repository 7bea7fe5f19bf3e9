"""The floor under a stack: torch's own batched parts and nothing else."""

from collections.abc import Callable

import torch
from torch.nn import functional

from model.inference import layers_of
from model.model import ResMLP
from utils.config import ConfigParser
from utils.runtime import precision_of


def bare_step(config: ConfigParser, num_members: int) -> Callable[[], None]:
    """Make a step of a stack of torch's own parts, without dropout, on the same batch each time."""
    arguments, precision = config["arch"]["args"], precision_of(config, torch.device("cpu"))
    layers = layers_of(ResMLP(**arguments))
    weights = [
        torch.randn(num_members, *layer.linear.weight.shape).mul_(0.05).requires_grad_()
        for layer in layers
    ]
    biases = [torch.zeros(*weight.shape[:2], 1, requires_grad=True) for weight in weights]
    optimizer = torch.optim.AdamW([*weights, *biases], 1e-3, fused=True)
    shape = (
        num_members,
        arguments["num_initial_features"],
        config["data_loader"]["args"]["batch_size"],
    )
    embeddings = torch.randn(shape)
    target = torch.randint(arguments["num_classes"], (num_members, shape[2]))

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
