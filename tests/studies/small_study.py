"""A small study: data whose people are known, and the shipped study.json shrunk."""

import json
from pathlib import Path
from typing import Any

from conftest import make_faces, save_faces
from helpers import ROOT

from cross_val.runs import sequential_engine
from studies.config import StudyConfig
from studies.protocols import select
from studies.runs import run_study
from utils.files import read_json

SMALL: dict[str, Any] = {
    "arch.args.num_blocks": 1,
    "data_loader.args.batch_size": 64,
    "data_loader.args.validation_split": 0.2,
    "trainer.epochs": 2,
    "amp": False,
    "seeds": [0, 1],
    "num_cross_val": 2,
}


def write_data(folder: Path) -> Path:
    """Write 300 faces of Adience, 200 of imdb and 100 of wiki; three of each person."""
    sets = (("Adience", 300, 1), ("imdb_crop", 200, 2), ("wiki_crop", 100, 3))
    for name, num_faces, seed in sets:
        is_adience = name == "Adience"
        faces = make_faces(num_faces, num_faces // 3, seed, is_adience)
        if not is_adience:
            faces["subject"] = [f"{name[:4]}{row % (num_faces // 3)}" for row in range(num_faces)]
        save_faces(faces, folder / name / ("data-aligned.npy" if is_adience else "data.npy"))
    return folder


def study_config(data_dir: Path, save_dir: Path, *only: str, **changes: Any) -> StudyConfig:
    """Shrink the shipped study; `changes` are by dotted path."""
    redirected = {"data_loader.args.data_dir": str(data_dir), "trainer.save_dir": str(save_dir)}
    content = read_json(ROOT / "study.json")
    return StudyConfig(content, select(only), {**SMALL, **redirected, **changes})


def options(data_dir: Path, save_dir: Path) -> list[str]:
    """Return the same as options of the command line."""
    changes = {**SMALL, "trainer.save_dir": str(save_dir)}
    texts = [f"{path}={json.dumps(value)}" for path, value in changes.items()]
    return ["--data_dir", str(data_dir), *(word for text in texts for word in ("-o", text))]


def run_small(config: StudyConfig) -> Path:
    """Run it in this process."""
    return run_study(config, sequential_engine())
