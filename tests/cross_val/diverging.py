"""One run of a cross-validation that diverges: seed 0, fold 1.

As a program it is cross-val.py, whose workers train that run so.
"""

import runpy
from collections.abc import Sequence
from typing import Any

import pytest

from cross_val import ray_engine as cross_val
from cross_val import ray_runs as remote
from cross_val import stacked_engine
from cross_val.ray_runs import RunOutcome, TaskSettings
from cross_val.runs import RunKey, run_config
from trainer.check import check
from trainer.data import SharedInputs
from utils.config import ConfigParser


def diverging_run_config(config: ConfigParser, seed: int, fold: int) -> ConfigParser:
    """Return seed 0, fold 1 a rate far too high."""
    own = run_config(config, seed, fold)
    args = {"lr": 1e12, "weight_decay": 1e12}
    rate = {"optimizer.args": args} if (seed, fold) == (0, 1) else {}
    return ConfigParser(own.config, modification=rate, check=check, folder=own.folder)


def run_remotely(
    settings: TaskSettings, runs: Sequence[RunKey], inputs: SharedInputs, progress: Any
) -> list[RunOutcome]:
    """Travel to a worker whole, as Ray sends functions of a program, and change its engine."""
    pytest.MonkeyPatch().setattr(stacked_engine, "run_config", diverging_run_config)
    return remote.run_remotely(settings, runs, inputs, progress)


if __name__ == "__main__":
    pytest.MonkeyPatch().setattr(cross_val, "run_remotely", run_remotely)
    runpy.run_path("cross-val.py", run_name="__main__")
