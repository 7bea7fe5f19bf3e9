"""The one evaluation: training's validation, cross-validation and test.py all use it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from base.base_data_loader import BaseDataLoader
from base.device import Precision
from model.metric import Metric, values_of
from utils.errors import DivergedError

Criterion = Callable[[Tensor, Tensor], Tensor]


def score(output: Tensor, target: Tensor, loss: Tensor, metrics: Sequence[Metric]) -> Tensor:
    """Sum loss and metrics over a batch: (1 + M,) float64 on the batch's device."""
    sums = [loss.detach().double() * len(target)]
    values = values_of(metrics, output.detach(), target)
    sums += [of_metric.sum(dtype=torch.float64) for of_metric in values]
    return torch.stack(sums)


def means(sums: Tensor, num_samples: int, metrics: Sequence[Metric]) -> dict[str, float]:
    """Divide the sums of all samples once, and name them."""
    names = ["loss", *(metric.name for metric in metrics)]
    return dict(zip(names, (sums / num_samples).tolist(), strict=True))


@torch.no_grad()
def evaluate(
    model: nn.Module,
    loader: BaseDataLoader,
    criterion: Criterion,
    metrics: Sequence[Metric],
    precision: Precision,
    logits: list[Tensor] | None = None,
) -> dict[str, float]:
    """Return the mean loss and metrics over the loader's rows, in eval mode.

    Args:
        model: maps embeddings to logits.
        loader: of the rows.
        criterion: the loss.
        metrics: to average.
        precision: of the network's numbers.
        logits: where given, those of each batch (B, C) are added to it, float32 on the CPU.

    Raises:
        DivergedError: the loss is NaN or infinite.
    """
    model.eval()
    device = next(model.parameters()).device
    sums = torch.zeros(1 + len(metrics), dtype=torch.float64, device=device)
    for embeddings, labels in loader:
        target = labels.to(device)
        with precision.autocast():
            output = model(embeddings.to(device))
            loss = criterion(output, target)
        sums += score(output, target, loss, metrics)
        if logits is not None:
            logits.append(output.float().cpu())
    log = means(sums, loader.n_samples, metrics)
    if not torch.isfinite(sums).all():
        raise DivergedError(f"loss and metrics over {loader.n_samples:,} samples are {log}")
    return log
