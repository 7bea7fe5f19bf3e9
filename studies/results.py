"""What the runs of a study leave: one JSON file a result, which names the predictions."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from cross_val.results import SPLITS
from studies.predictions import PredictionFiles, Predictions, read_predictions
from studies.protocols import PROTOCOLS, TASKS, StudyPart
from utils.errors import DataError
from utils.files import read_json, write_json

EpochLog = dict[str, FiniteFloat | None]
"""Losses and metrics of an epoch, by name."""


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
    epochs: list[EpochLog]
    log: dict[str, dict[str, FiniteFloat]]


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
