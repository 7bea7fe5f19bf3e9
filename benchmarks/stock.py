"""The stock way to train: dict samples one at a time, default AdamW, `.item()` every batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from model.dropout import Dropout
from model.model import ResMLP

ARCH = {
    "dropout": 0.05,
    "num_residuals_per_block": 1,
    "num_blocks": 2,
    "num_classes": 101,
    "num_initial_features": 512,
}


def network(dropout: type[nn.Dropout], seed: int = 0, **changes: int) -> ResMLP:
    """Build the age network, or one with some changes, of torch's own layers as they come."""
    torch.manual_seed(seed)
    model = ResMLP(**{**ARCH, **changes})  # type: ignore[arg-type]
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Dropout):
                setattr(module, name, dropout(child.p))
            if isinstance(child, nn.ReLU):
                child.inplace = False
    return model.train()


class DictSamples(Dataset[tuple[Any, Any]]):
    """Samples as the original keeps them: a dict each."""

    def __init__(self, embeddings: Tensor, labels: Tensor):
        self.samples = [
            {"embedding": embedding, "age": int(label)}
            for embedding, label in zip(embeddings.numpy(), labels, strict=True)
        ]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.samples[index]["embedding"], self.samples[index]["age"]


def stock_pass(
    model: nn.Module, loader: DataLoader[Any], optimizer: torch.optim.Optimizer | None
) -> float:
    """Go once through the samples the stock way; give the mean of the batches' losses."""
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
