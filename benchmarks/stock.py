"""The stock way to train: dict samples one at a time, default AdamW, `.item()` every batch."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.recipes import Recipe
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


def stock_training(
    train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], recipe: Recipe, seed: int
) -> ResMLP:
    """Train a recipe of the original project with early stop; return its best epoch's network."""
    batch_size, trainer = recipe["data_loader"]["args"]["batch_size"], recipe["trainer"]
    train_loader, valid_loader = (
        DataLoader(DictSamples(*rows), batch_size, shuffle=True) for rows in (train, valid)
    )
    model = stock_network(recipe["arch"]["args"], seed)
    optimizer = torch.optim.AdamW(model.parameters(), **recipe["optimizer"]["args"])
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, **recipe["lr_scheduler"]["args"])
    best_loss, best_weights, num_worse, epoch = float("inf"), model.state_dict(), 0, 0
    while epoch < trainer["epochs"] and num_worse <= trainer["early_stop"]:
        epoch += 1
        stock_epoch(model.train(), train_loader, optimizer)
        with torch.no_grad():
            loss = stock_epoch(model.eval(), valid_loader, None)
        schedule.step()
        num_worse = 0 if loss <= best_loss else num_worse + 1
        if loss <= best_loss:
            best_loss, best_weights = loss, copy.deepcopy(model.state_dict())
    model.load_state_dict(best_weights)
    return model
