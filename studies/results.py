"""What the runs of a study leave: one JSON file a result, and the predictions that it names."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from cross_val.results import SPLITS
from studies.protocols import PROTOCOLS, TASKS, StudyPart
from utils.errors import DataError
from utils.files import atomic_write, read_json, write_json

DTYPE_KINDS = {
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
class FaceInfo:
    """Who N faces are.

    Attributes:
        age: (N,) float32, true years.
        gender: (N,) 'm' or 'f'.
        subject: (N,) who is on the image; empty where it is not known.
        row: (N,) row of the face in the data set of the config.
        source: (N,) Adience, imdb or wiki.
    """

    age: NDArray[np.float32]
    gender: NDArray[np.str_]
    subject: NDArray[np.str_]
    row: NDArray[np.int64]
    source: NDArray[np.str_]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "FaceInfo":
        return FaceInfo(*(column[rows] for column in vars(self).values()))

    @property
    def distinct(self) -> "FaceInfo":
        """Each row of the data set once."""
        return self[np.unique(self.row, return_index=True)[1]]


@dataclass(frozen=True)
class Predictions:
    """What a network says of N faces, and what is true.

    Attributes:
        probabilities: (N, C) float32; every row adds up to 1.
        label: (N,) true class numbers.
        faces: who they are.
    """

    probabilities: NDArray[np.float32]
    label: NDArray[np.int64]
    faces: FaceInfo

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> "Predictions":
        return Predictions(self.probabilities[rows], self.label[rows], self.faces[rows])

    def write(self, path: Path) -> None:
        """Write an .npz file of plain arrays."""
        columns: dict[str, Any] = {"probabilities": self.probabilities, "label": self.label}
        with atomic_write(path) as file:
            np.savez(file, **columns, **vars(self.faces))


def read_predictions(path: Path, num_classes: int) -> Predictions:
    """Read a predictions file.

    Raises:
        DataError: the file is missing, damaged or foreign, or does not fit the task.
    """
    try:
        # Opened here, since numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            columns = {name: content[name] for name in DTYPE_KINDS}
    except DAMAGE as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is no predictions file ({reason}); run its part of the study again"
        ) from None
    problem = _problem(columns, num_classes)
    if problem:
        raise DataError(f"{path}: {problem}; run its part of the study again")
    faces = FaceInfo(**{one.name: columns[one.name] for one in fields(FaceInfo)})
    return Predictions(columns["probabilities"], columns["label"], faces)


def _problem(columns: dict[str, NDArray[Any]], num_classes: int) -> str | None:
    probabilities, label = columns["probabilities"], columns["label"]
    num_faces = len(label) if label.ndim else 0
    for name, kind in DTYPE_KINDS.items():
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


PredictionFiles = dict[str, str | None]
"""Paths from the study's folder, by split; None for a split without rows."""


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A training that is done.

    Attributes:
        seed: of everything random.
        fold: held out; None where nothing is.
        checkpoint: of the best epoch.
    """

    seed: int
    fold: int | None
    checkpoint: str


@dataclass(frozen=True, kw_only=True)
class StudyRun(TrainedRun):
    """A training that is evaluated.

    Attributes:
        predictions: files of its splits.
        epochs: losses and metrics of each epoch.
        log: loss and metrics of the best epoch, by split.
    """

    predictions: PredictionFiles
    epochs: list[dict[str, float | None]]
    log: dict[str, dict[str, float]]


@dataclass(frozen=True)
class BaselineRun:
    """A baseline, fitted and evaluated on the rows of a run; see `StudyRun`."""

    seed: int
    fold: int | None
    predictions: PredictionFiles


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """All runs of one task by one protocol.

    Attributes:
        task: gender, age8 or age101.
        protocol: a, b, c or d.
        variant: "" or "by-image".
        config: that the runs were made with.
        engine: that trained them.
        runs: as they were trained.
        baselines: runs of other methods on the same rows, by name.
        seconds: that all took; None where it is not known.
    """

    task: str
    protocol: str
    variant: str = ""
    config: dict[str, Any]
    engine: str = ""
    runs: list[StudyRun]
    baselines: dict[str, list[BaselineRun]] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def splits(self) -> list[str]:
        """The splits that every run has predictions of."""
        return [split for split in SPLITS if all(run.predictions.get(split) for run in self.runs)]

    @property
    def judged(self) -> str:
        """The split that the result is judged by: test, or val where nothing is held out."""
        return self.splits[-1]

    def read_predictions(
        self, folder: Path, split: str, runs: Sequence[StudyRun | BaselineRun] | None = None
    ) -> Iterator[Predictions]:
        """Read the predictions of one run after the other.

        Args:
            folder: of the study.
            split: one of `splits`.
            runs: of a baseline; by default those of the networks.
        """
        for run in self.runs if runs is None else runs:
            path = folder / str(run.predictions[split])
            yield read_predictions(path, TASKS[self.task].num_classes)

    def write(self, folder: Path) -> None:
        """Write its JSON file into the folder of a study."""
        write_json(asdict(self), result_path(folder, self))


_STUDY_RESULT = TypeAdapter(StudyResult)


def result_path(folder: Path, part: StudyPart | StudyResult) -> Path:
    """Return the path of a result's JSON file, whether it is there or not."""
    return folder / f"{StudyPart(part.task, part.protocol, part.variant).name}.json"


def parse_result(folder: Path, part: StudyPart) -> StudyResult:
    """Read what a part left, as it was written.

    Raises:
        DataError: the file is no result.
        ConfigError: the file is missing, or no JSON.
    """
    path = result_path(folder, part)
    try:
        result = _STUDY_RESULT.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise DataError(
            f"{path} is no result of a study ({where}: {first['msg']}); "
            "delete it and run its part of the study again"
        ) from None
    return replace(result, **vars(part))


def read_result(folder: Path, part: StudyPart) -> StudyResult | None:
    """Read a result that can be judged, sorted by seed and fold; None when it was not run.

    Raises:
        DataError: the file is no result, or its runs have too few splits.
        ConfigError: the file is no JSON.
    """
    path = result_path(folder, part)
    if not path.is_file():
        return None
    result = parse_result(folder, part)
    if not result.runs:
        return None
    if len(result.splits) < 2 or result.splits[0] != "train":
        raise DataError(
            f"{path}: its runs name predictions of {', '.join(result.splits) or 'no split'}, "
            "expected train and val or test; set validation rows aside, and run that part again"
        )
    return replace(
        result,
        runs=sorted(result.runs, key=_seed_and_fold),
        baselines={
            name: sorted(runs, key=_seed_and_fold) for name, runs in result.baselines.items()
        },
    )


def _seed_and_fold(run: StudyRun | BaselineRun) -> tuple[int, int]:
    return run.seed, -1 if run.fold is None else run.fold


def read_results(folder: Path) -> dict[StudyPart, StudyResult | None]:
    """Read all results of a study, variants aside; None for those that were not run.

    Raises:
        DataError: there is no such folder, or a file of it is no result.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder of a study; make it with study.py")
    parts = [StudyPart(task, protocol) for task in TASKS for protocol in PROTOCOLS]
    return {part: read_result(folder, part) for part in parts}
