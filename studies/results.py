"""What the runs of a study left: one JSON file a result, and the predictions that it names."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cross_val.results import SPLITS
from studies.protocols import PROTOCOLS, TASKS, Part
from utils.errors import DataError
from utils.files import read_json

NUM_CLASSES = {"gender": 2, "age8": 8, "age101": 101}

KINDS = {
    "probabilities": "f",
    "label": "i",
    "age": "f",
    "gender": "U",
    "subject": "U",
    "row": "i",
    "source": "U",
}
"""Fields of a predictions file, and the kind of numpy type that each holds."""

DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)
"""What numpy raises on a file that is not, or no longer, one of arrays."""


@dataclass(frozen=True)
class Predictions:
    """What a network says of N faces, and what is true.

    Attributes:
        probabilities: (N, C) float32; every row adds up to 1.
        label: (N,) true class numbers.
        age: (N,) float32, true years.
        gender: (N,) 'm' or 'f'.
        subject: (N,) who is on the image; empty where it is not known.
        row: (N,) row of the face in the data set of the config.
        source: (N,) Adience, imdb or wiki.
    """

    probabilities: NDArray[np.float32]
    label: NDArray[np.int64]
    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    subject: NDArray[np.str_]
    row: NDArray[np.int64]
    source: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.label)


def read_predictions(path: Path, num_classes: int) -> Predictions:
    """Read a predictions file.

    Raises:
        DataError: the file is missing, damaged or foreign, or does not fit the task.
    """
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            columns = {name: content[name] for name in KINDS}
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is no predictions file ({reason}); run its part of the study again"
        ) from None
    problem = _problem(columns, num_classes)
    if problem:
        raise DataError(f"{path}: {problem}; run its part of the study again")
    return Predictions(**columns)


def _problem(columns: dict[str, NDArray[Any]], num_classes: int) -> str | None:
    probabilities, label = columns["probabilities"], columns["label"]
    num_faces = len(label) if label.ndim else 0
    for name, kind in KINDS.items():
        column = columns[name]
        shape = (num_faces, num_classes) if name == "probabilities" else (num_faces,)
        if column.dtype.kind != kind or column.shape != shape:
            return f"{name} is {column.dtype} {column.shape}, expected kind {kind!r} {shape}"
    if num_faces == 0:
        return "it holds no face"
    if not (np.abs(probabilities.sum(1, dtype=np.float64) - 1) < 1e-3).all():
        return "there are probabilities that do not add up to 1"
    if (probabilities < 0).any():
        return "there are negative probabilities"
    if label.min() < 0 or label.max() >= num_classes:
        return f"labels {label.min()} to {label.max()}, expected 0 to {num_classes - 1}"
    if not np.isfinite(columns["age"]).all():
        return "there are ages that are not finite"
    return None


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        seed: of everything random.
        fold: held out; None where nothing is.
        files: predictions files by split.
        epochs: log of each epoch.
    """

    seed: int
    fold: int | None
    files: dict[str, Path]
    epochs: list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """All runs of one task by one protocol.

    Attributes:
        task: gender, age8 or age101.
        protocol: a, b, c or d.
        config: that the runs were made with.
        engine: that trained them.
        seconds: that they took; None where it is not known.
        runs: in order of seed and fold.
        baselines: runs of other methods on the same rows, by name.
    """

    task: str
    protocol: str
    config: dict[str, Any]
    engine: str
    seconds: float | None
    runs: list[Run]
    baselines: dict[str, list[Run]]

    @property
    def num_classes(self) -> int:
        """Count the classes of the task."""
        return NUM_CLASSES[self.task]

    @property
    def splits(self) -> list[str]:
        """Name the splits that every run has predictions of."""
        return [split for split in SPLITS if all(split in run.files for run in self.runs)]

    @property
    def judged(self) -> str:
        """Name the split that the result is judged by: test, or val where nothing is held out."""
        return self.splits[-1]

    def read(self, split: str, runs: list[Run] | None = None) -> Iterator[Predictions]:
        """Read the predictions of one run after the other."""
        for run in self.runs if runs is None else runs:
            yield read_predictions(run.files[split], self.num_classes)


def read_result(folder: Path, task: str, protocol: str, variant: str = "") -> Result | None:
    """Read a result; None when it was not run.

    Args:
        folder: of the study.
        task: gender, age8 or age101.
        protocol: a, b, c or d.
        variant: such as `by-image`.

    Raises:
        DataError: the file is no result.
        ConfigError: the file is no JSON.
    """
    path = folder / f"{Part(task, protocol, variant).name}.json"
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        result = _result(content, folder, task, protocol)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"{path} is no result of a study ({type(error).__name__}: {error}); "
            "delete it and run its part of the study again"
        ) from None
    if not result.runs:
        return None
    if len(result.splits) < 2 or result.splits[0] != "train":
        raise DataError(
            f"{path}: its runs name predictions of {', '.join(result.splits) or 'no split'}, "
            "expected train and val or test; set validation rows aside, and run that part again"
        )
    return result


def _result(content: Any, folder: Path, task: str, protocol: str) -> Result:
    seconds = content.get("seconds")
    baselines = content.get("baselines") or {}
    return Result(
        task=task,
        protocol=protocol,
        config=dict(content["config"]),
        engine=str(content.get("engine", "")),
        seconds=None if seconds is None else float(seconds),
        runs=_runs(content["runs"], folder),
        baselines={str(name): _runs(found, folder) for name, found in baselines.items()},
    )


def _runs(content: list[dict[str, Any]], folder: Path) -> list[Run]:
    runs = [
        Run(
            seed=int(run["seed"]),
            fold=None if run.get("fold") is None else int(run["fold"]),
            files={
                split: folder / run["predictions"][split]
                for split in SPLITS
                if run["predictions"].get(split)
            },
            epochs=list(run.get("epochs") or []),
        )
        for run in content
    ]
    return sorted(runs, key=lambda run: (run.seed, -1 if run.fold is None else run.fold))


def read_results(folder: Path) -> dict[tuple[str, str], Result | None]:
    """Read all results of a study by (task, protocol), None for those that were not run.

    Raises:
        DataError: there is no such folder, or a file of it is no result.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of a study; make it with study.py")
    return {
        (task, protocol): read_result(folder, task, protocol)
        for task in TASKS
        for protocol in PROTOCOLS
    }
