"""The shipped search, shrunk, and what it leaves."""

import json
from pathlib import Path
from typing import Any

from helpers import ROOT, Config


def small_search(data_dir: Path, save_dir: Path) -> Config:
    """Return the shipped search, shrunk; every trial runs to its last epoch."""
    config: Config = json.loads((ROOT / "hp-tuning.json").read_text(encoding="utf-8"))
    small = {
        "num_classes": 8,
        "data_dir": str(data_dir),
        "dataset": "Adience",
        "save_dir": str(save_dir),
        "num_blocks": [1, 2],
        "batch_size": [32, 64],
        "amp": False,
        "num_samples": 4,
        "max_num_epochs": 3,
        "scheduler": "fifo",
    }
    return {**config, **small}


def save(config: Config, folder: Path) -> Path:
    path = folder / "search.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def folder_of(config: Config) -> Path:
    """Return the only search; the lock file of a killed one lies beside it."""
    (folder,) = (Path(config["save_dir"]) / "hp-tuning").glob("[!.]*")
    return folder


def trials_of(config: Config) -> list[dict[str, Any]]:
    content = json.loads((folder_of(config) / "results.json").read_text(encoding="utf-8"))
    trials: list[dict[str, Any]] = content["trials"]
    return trials


def by_values(trials: list[dict[str, Any]]) -> dict[str, tuple[object, object]]:
    """Return best log and epochs by the values of a trial, whatever its name."""
    return {json.dumps(one["values"]): (one["best"], one["num_epochs"]) for one in trials}
