"""What the tests of training share beside the fixtures."""

import json
import os
import signal
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from model import loss
from trainer.check import check
from trainer.fit import FitResult, fit
from utils.config import ConfigParser

ROOT = Path(__file__).parent.parent
Config = dict[str, Any]
TINY: Config = {
    "arch.args.num_residuals_per_block": 0,
    "arch.args.num_blocks": 1,
    "arch.args.dropout": 0.2,
    "amp": False,
    "optimizer": {"type": "AdamW", "args": {"lr": 0.001, "weight_decay": 0.01}},
    "lr_scheduler": {"type": "OneCycleLR", "args": {}},
    "loss": "cse",
    "trainer.monitor": "min val_loss",
    "trainer.early_stop": 0,
}
"""One down-sampling (batch norm, dropout, linear) and the last layer, in float32, and a recipe that
does not move with the shipped one."""


class Outcome(NamedTuple):
    """What a script left: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


class Run(NamedTuple):
    """A training and the logs of its epochs."""

    fitted: FitResult
    logs: list[dict[str, float]]

    @property
    def save_dir(self) -> Path:
        return self.fitted.best_path.parent


def original_config() -> Config:
    """Return the original project's config of production, word for word."""
    return {
        "name": "ResMLP",
        "n_gpu": 1,
        "amp": True,
        "checkpoint": None,
        "arch": {
            "type": "ResMLP",
            "args": {
                "dropout": 0.05,
                "num_residuals_per_block": 1,
                "num_blocks": 2,
                "num_classes": 101,
                "num_initial_features": 512,
                "add_residual": True,
                "add_IC": True,
            },
        },
        "data_loader": {
            "type": "AgeDataLoader",
            "args": {
                "data_dir": "data/",
                "batch_size": 128,
                "shuffle": True,
                "validation_split": 0,
                "num_workers": 8,
                "dataset": "imdb_wiki_adience",
                "num_classes": 101,
            },
        },
        "optimizer": {
            "type": "AdamW",
            "args": {"lr": 0.0011670137678831, "weight_decay": 0.00012337159555124116},
        },
        "loss": "cse",
        "metrics": ["accuracy"],
        "lr_scheduler": {"type": "ExponentialLR", "args": {"gamma": 0.3947943239814273}},
        "trainer": {
            "epochs": 5,
            "save_dir": "saved/",
            "save_period": 1,
            "verbosity": 2,
            "monitor": "min val_loss",
            "early_stop": 5,
            "tensorboard": True,
        },
    }


def by_subject(small_config: Callable[..., Config], **overrides: Any) -> Config:
    """Make a config of a training on Adience that validates on 30 of its 60 people."""
    changes = {
        **TINY,
        "data_loader.args.dataset": "Adience",
        "data_loader.args.validation_split": 0.5,
        "data_loader.args.validation_by": "subject",
        "trainer.verbosity": 1,
    }
    return small_config(**{**changes, **overrides})


def train(config: Config, resume: Path | None = None) -> Run:
    """Train as train.py does, in this process."""
    logs: list[dict[str, float]] = []
    return Run(fit(ConfigParser(config, resume, check=check), logs.append), logs)


def run_dirs(config: Config) -> list[Path]:
    """List the run folders of a config, oldest first."""
    return sorted((Path(config["trainer"]["save_dir"]) / "models" / config["name"]).iterdir())


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint with nothing of this project."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def assert_identical(got: Any, expected: Any, place: str = "checkpoint") -> None:
    """Compare nested values; tensors and floats to the bit."""
    assert type(got) is type(expected), place
    if isinstance(expected, Tensor):
        assert got.dtype == expected.dtype, place
        assert torch.equal(got, expected), place
    elif isinstance(expected, Mapping):
        assert list(got) == list(expected), place
        for key, value in expected.items():
            assert_identical(got[key], value, f"{place}[{key!r}]")
    elif isinstance(expected, Sequence) and not isinstance(expected, str):
        assert len(got) == len(expected), place
        for index, value in enumerate(expected):
            assert_identical(got[index], value, f"{place}[{index}]")
    else:
        assert got == expected or (got != got and expected != expected), place


def spy_on_batches(monkeypatch: pytest.MonkeyPatch, action: Callable[[int], float | None]) -> None:
    """Call `action` with 1, 2, ... at every training batch; what it gives multiplies the loss."""
    original, numbers = loss.cse, count(1)

    def spied(output: Tensor, target: Tensor, **arguments: Any) -> Tensor:
        value = original(output, target, **arguments)
        factor = action(next(numbers)) if torch.is_grad_enabled() else None
        return value if factor is None else value * factor

    monkeypatch.setattr(loss, "cse", spied)


def signal_at(monkeypatch: pytest.MonkeyPatch, batch: int, number: int = signal.SIGINT) -> None:
    """Send a signal to this process while it trains on batch 1, 2, ... of this call."""

    def send(current: int) -> None:
        if current == batch:
            os.kill(os.getpid(), number)

    spy_on_batches(monkeypatch, send)


def nan_from(monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Turn the training loss into NaN from batch 1, 2, ... of this call on."""
    spy_on_batches(monkeypatch, lambda current: float("nan") if current >= batch else None)


def record_rates() -> Iterator[list[float]]:
    """Record the learning rate of every optimizer step by gradients while the generator is open."""
    rates: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        group = optimizer.param_groups[0]
        if any(weight.grad.any() for weight in group["params"]):
            rates.append(group["lr"])

    handle = register_optimizer_step_pre_hook(note)
    yield rates
    handle.remove()


def one_cycle(
    max_lr: float, num_steps: int, pct_start: float = 0.3, div: float = 25, final_div: float = 1e4
) -> Any:
    """Return the rates of the one-cycle policy with cosine annealing (arXiv 1708.07120)."""
    steps, top = np.arange(num_steps), pct_start * num_steps - 1
    start, end = max_lr / div, max_lr / div / final_div

    def between(a: float, b: float, share: Any) -> Any:
        return b + (a - b) / 2 * (1 + np.cos(np.pi * share))

    rising = between(start, max_lr, steps / top)
    return np.where(
        steps <= top, rising, between(max_lr, end, (steps - top) / (num_steps - 1 - top))
    )


def start_script(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """Start a script in a process of its own, with one thread."""
    return subprocess.Popen(  # noqa: S603 - our own scripts
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def save_config(config: Config, folder: Path) -> Path:
    """Write a config for -c."""
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def wait_for_line(process: "subprocess.Popen[str]", text: str) -> None:
    """Read a script's output up to the line that holds `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"{text!r} never came: {''.join(lines)}{process.communicate()[1]}")


class OriginalConfig:
    """What the original pickles as `config`: its settings, and where the run wrote."""

    def __init__(self, config: Config):
        self._config = OrderedDict(config)
        self.resume = None
        self._save_dir = PosixPath("saved/models/Age/0101_000000")
        self._log_dir = PosixPath("saved/log/Age/0101_000000")
        self.log_levels = {0: 30, 1: 20, 2: 10}


OriginalConfig.__name__ = OriginalConfig.__qualname__ = "ConfigParser"


def save_as_original(content: dict[str, Any], path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Save a checkpoint of ours as the original saves its own, with its module there meanwhile."""
    keys = ("arch", "epoch", "state_dict", "optimizer", "monitor_best")
    kept = {key: content[key] for key in keys}
    module = ModuleType("parse_config")
    module.ConfigParser = OriginalConfig  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "parse_config", module)
        patch.setattr(OriginalConfig, "__module__", "parse_config")
        torch.save({**kept, "config": OriginalConfig(content["config"])}, path)
    return path


class Malicious:
    """Makes a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (str(self.path), "w")
