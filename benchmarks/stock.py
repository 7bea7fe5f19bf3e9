"""The stock way to train: dict samples one at a time, default AdamW, `.item()` every batch."""

import copy
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

ORIGINAL_RECIPES: dict[str, dict[str, Any]] = {
    "gender": {
        "arch": {"num_residuals_per_block": 1, "num_blocks": 4, "num_classes": 2},
        "batch_size": 512,
        "lr": 0.0243983281217744,
        "weight_decay": 0.004735384181058588,
        "gamma": 0.06620420614596553,
    },
    "age8": {
        "arch": {"num_residuals_per_block": 1, "num_blocks": 2, "num_classes": 8},
        "batch_size": 128,
        "lr": 0.0011670137678831,
        "weight_decay": 0.00012337159555124116,
        "gamma": 0.3947943239814273,
    },
}
"""Published hyper-parameters; dropout 0.05, up to 30 epochs, early stop 5 on validation loss."""


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


def stock_training(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    recipe: dict[str, Any],
    seed: int,
    most_epochs: int = 30,
) -> tuple[ResMLP, int]:
    """Train a recipe of the original's; give the network of its best epoch, and its epochs."""
    loaders = [
        DataLoader(DictSamples(*part), recipe["batch_size"], shuffle=True)
        for part in (train, valid)
    ]
    model = network(nn.Dropout, seed, **recipe["arch"])
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe["lr"], weight_decay=recipe["weight_decay"]
    )
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, recipe["gamma"])
    best_loss, best_weights, num_worse, epoch = float("inf"), model.state_dict(), 0, 0
    while epoch < most_epochs and num_worse <= 5:
        epoch += 1
        stock_pass(model.train(), loaders[0], optimizer)
        with torch.no_grad():
            loss = stock_pass(model.eval(), loaders[1], None)
        schedule.step()
        num_worse = 0 if loss <= best_loss else num_worse + 1
        if loss <= best_loss:
            best_loss, best_weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return model, epoch
