"""Folders of a study as its runs leave them, with made-up predictions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_loader.faces import read_faces
from studies.metrics import FaceScores, score
from studies.predictions import FaceInfo, Predictions
from studies.protocols import TASKS
from utils.files import write_json
from utils.labels import ages_to_classes, class_years

Columns = dict[str, NDArray[Any]]
SKILL = {"ours": 2.0, "logistic_regression": 1.2, "majority": 0.0}


def make_columns(num_faces: int = 300, num_people: int = 60, seed: int = 0) -> Columns:
    """Make faces of Adience: age, gender, subject, row, source and fold; folds by subject."""
    rng = np.random.default_rng(seed)
    person = np.arange(num_faces) % num_people
    return {
        "age": rng.choice(class_years(8), num_faces),
        "gender": np.where(rng.permutation(num_people)[person] % 2, "f", "m"),
        "subject": np.array([f"{number:04}" for number in person]),
        "row": np.arange(num_faces),
        "source": np.full(num_faces, "Adience"),
        "fold": (person % 5).astype(np.int8),
    }


def read_columns(data_dir: Path) -> Columns:
    """Return the faces of a data file of Adience in the same form."""
    faces = read_faces(data_dir, "Adience")
    names = ("age", "gender", "subject", "fold")
    found = {name: getattr(faces, name) for name in names}
    return found | {"row": np.arange(len(faces)), "source": np.full(len(faces), "Adience")}


def labels(columns: Columns, task: str) -> NDArray[np.int64]:
    if task == "gender":
        return np.asarray(columns["gender"] == "f", np.int64)
    return ages_to_classes(columns["age"], TASKS[task].num_classes)


def guess(label: NDArray[np.int64], num_classes: int, skill: float, seed: int) -> NDArray[Any]:
    """Make probabilities that favour the true class and its neighbours as the skill allows."""
    rng = np.random.default_rng(seed)
    distance = np.abs(np.arange(num_classes) - label[:, None]) / max(num_classes / 8, 1)
    logits = -skill * distance + rng.normal(size=distance.shape)
    chances = np.exp(logits)
    return np.asarray(chances / chances.sum(1, keepdims=True), np.float32)


def as_predictions(
    columns: Columns, probabilities: NDArray[Any], label: NDArray[np.int64]
) -> Predictions:
    names = ("age", "gender", "subject", "row", "source")
    faces = FaceInfo(**{name: columns[name] for name in names})
    return Predictions(probabilities, label, faces)


def make_predictions(columns: Columns, task: str, skill: float, seed: int) -> Predictions:
    label = labels(columns, task)
    return as_predictions(columns, guess(label, TASKS[task].num_classes, skill, seed), label)


def make_scores(task: str, num_faces: int, seed: int = 0) -> FaceScores:
    """Score made-up predictions of the same faces, whatever the seed."""
    return score(make_predictions(make_columns(num_faces, seed=4), task, 1.0, seed), task)


def hand_made(
    task: str,
    probabilities: Any,
    label: Any,
    age: Any = 20.0,
    gender: Any = "m",
    row: Any = None,
    subject: Any = "",
) -> FaceScores:
    """Score faces given one by one; what is given once is the same of all."""
    num_faces = len(label)
    columns = {
        "age": np.broadcast_to(np.array(age, np.float32), num_faces),
        "gender": np.broadcast_to(np.array(gender), num_faces),
        "subject": np.broadcast_to(np.array(subject), num_faces),
        "row": np.arange(num_faces) if row is None else np.array(row),
        "source": np.full(num_faces, "Adience"),
    }
    made = as_predictions(columns, np.array(probabilities, np.float32), np.array(label))
    return score(made, task)


def split(columns: Columns, seed: int, fold: int | None) -> dict[str, NDArray[np.bool_]]:
    """Split by subject, as protocols c and d do; without a fold there is no test."""
    subjects = np.unique(columns["subject"][columns["fold"] != fold])
    held = np.random.default_rng(seed).permutation(subjects)[: max(len(subjects) // 10, 1)]
    is_val = np.isin(columns["subject"], held)
    is_test = columns["fold"] == fold
    parts = {"train": ~is_val & ~is_test, "val": is_val & ~is_test}
    return parts if fold is None else parts | {"test": is_test}


def write_run(
    folder: Path, task: str, columns: Columns, seed: int, fold: int | None, name: str, method: str
) -> dict[str, Any]:
    files: dict[str, str | None] = {"train": None, "val": None, "test": None}
    for part, is_in in split(columns, seed, fold).items():
        path = folder / "predictions" / f"{name}-{method}-{seed}-{fold}-{part}.npz"
        chosen = {key: column[is_in] for key, column in columns.items()}
        number = 100 * seed + (0 if fold is None else fold)
        make_predictions(chosen, task, SKILL[method], number).write(path)
        files[part] = str(path.relative_to(folder))
    return {"seed": seed, "fold": fold, "predictions": files}


def make_result(
    folder: Path,
    task: str,
    protocol: str,
    variant: str = "",
    columns: Columns | None = None,
    seeds: int = 2,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write one result with its predictions, and return the path of its JSON file."""
    columns = make_columns() if columns is None else columns
    name = "-".join(filter(None, (task, protocol, variant)))
    folds: list[int | None] = list(range(5)) if protocol in "cd" else [None]
    runs = [(seed, fold) for seed in range(seeds) for fold in folds]
    settings = {"dataset": "Adience", "data_dir": "nowhere"}
    content = {
        "task": task,
        "protocol": protocol,
        "config": {"data_loader": {"args": settings}, "trainer": {"epochs": 3}},
        "engine": "sequential",
        "seconds": 1.5,
        "runs": [
            write_run(folder, task, columns, *run, name, "ours") | logs(run[0]) for run in runs
        ],
        "baselines": {
            method: [write_run(folder, task, columns, *run, name, method) for run in runs]
            for method in ("logistic_regression", "majority")
        },
    } | dict(changes or {})
    path = folder / f"{name}.json"
    write_json(content, path)
    return path


def logs(seed: int) -> dict[str, Any]:
    epochs = [
        {"epoch": n, "loss": 1 / n, "val_loss": 1.2 / n + 0.01 * seed, "lr": 0.1} for n in (1, 2, 3)
    ]
    return {"checkpoint": "model_best.pth", "epochs": epochs, "log": {}}


def make_study(folder: Path, names: tuple[str, ...], **options: Any) -> Path:
    """Write results such as "age8-d" or "age8-d-by-image" below a folder, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        task, protocol, *variant = name.split("-", 2)
        make_result(folder, task, protocol, "".join(variant), **options)
    return folder


def face_info(row: list[int], subject: list[str], source: str = "Adience") -> FaceInfo:
    num_faces = len(row)
    return FaceInfo(
        age=np.full(num_faces, 20, np.float32),
        gender=np.full(num_faces, "m"),
        subject=np.array(subject),
        row=np.array(row),
        source=np.full(num_faces, source),
    )
