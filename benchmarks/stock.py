"""The stock way to train: dict samples one at a time, default AdamW, `.item()` every batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from model.dropout import Dropout
from model.model import ResMLP


def stock_network(arguments: dict[str, Any], seed: int = 0) -> ResMLP:
    """Build a network of torch's own layers as they come, in training mode."""
    torch.manual_seed(seed)
    return with_stock_layers(ResMLP(**arguments)).train()


def with_stock_layers(model: ResMLP) -> ResMLP:
    """Put torch's own dropout and ReLU into a network, and return it."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.p))
            if isinstance(child, nn.ReLU):
                child.inplace = False
    return model


class DictSamples(Dataset[tuple[Any, Any]]):
    """Samples as the original project keeps them: a dict each."""

    def __init__(self, embeddings: Tensor, labels: Tensor):
        self.samples = [
            {"embedding": embedding, "age": int(label)}
            for embedding, label in zip(embeddings.numpy(), labels, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.samples[index]["embedding"], self.samples[index]["age"]


def stock_epoch(
    model: nn.Module, loader: DataLoader[Any], optimizer: torch.optim.Optimizer | None
) -> float:
    """Train, or validate without an optimizer, on all samples; return the mean loss of a batch."""
    total_loss, correct = 0.0, 0.0
    for x, y in loader:
        output = model(x)
        loss = nn.functional.cross_entropy(output, y)
        if optimizer is not None:
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        total_loss += loss.item()
        correct += torch.sum(torch.argmax(output, dim=1) == y).item() / len(y)
    return total_loss / len(loader)
