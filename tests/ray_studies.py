"""Cross-validations through Ray, beside the same in this process."""

import json
from pathlib import Path
from typing import Any

from helpers import Config

from cross_val.cross_validate import cross_validate
from cross_val.runs import Engine
from trainer.check import check
from utils.config import ConfigParser


def results_of(config: Config) -> dict[str, Any]:
    (path,) = Path(config["trainer"]["save_dir"]).glob("*_cross-val-results.json")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def in_process(config: Config, folder: Path, engine: Engine | None = None) -> dict[str, Any]:
    """Run the same study in this process, with one thread; by default one after the other."""
    trainer = {**config["trainer"], "save_dir": str(folder / "in-process")}
    parsed = ConfigParser({**config, "trainer": trainer}, check=check)
    return cross_validate(parsed, engine=engine)
