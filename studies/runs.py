"""Runs the parts of a study, one after the other, and never again what is done.

Everything of a study lies below save_dir/study/<study id>; the trainings and the results of its
cross-validations where train.py and cross-val.py write theirs. A part is done once its file is
there; within a part, trainings that are done are found again.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from base.epoch_files import EPOCHS_NAME, Log
from base.interrupt import StopRequest
from cross_val.cross_validate import cross_validate
from cross_val.results import Plan
from cross_val.runs import Engine
from studies.baselines import write_baselines
from studies.config import StudyConfig
from studies.predictions import StudyData, predict, read_data, split_rows, write_predictions
from studies.protocols import PROTOCOLS, StudyPart
from studies.results import BaselineRun, EpochLog, StudyResult, StudyRun, TrainedRun, parse_result
from trainer.data import SharedInputs
from trainer.fit import fit
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ConfigError, DataError
from utils.files import parse_json, read_json_or_none, write_json
from utils.locks import only_one, remove_leftovers
from utils.log import get_logger
from utils.run_folders import claim_folder, locked_path, remove_killed
from utils.text import in_one_line

DESCRIPTION = "study.json"
AGAIN = "the same call again goes on"


def run_study(config: StudyConfig, engine: Engine, engine_name: str = "sequential") -> Path:
    """Run what is missing of the parts that are asked for.

    Args:
        config: of the study.
        engine: trains the runs of a cross-validation.
        engine_name: its name, for the results.

    Returns:
        The folder of the study.

    Raises:
        DataError: a data set is missing or unfit.
        PathError: save_dir cannot be written.
        ConfigError: another study is running with the same save_dir.
        Interrupted: Ctrl-C or SIGTERM came. What was done stays.
    """
    for part in config.parts:
        config.of(part).refuse_unwritable()
    config.refuse_missing_data()
    root = config.save_dir / "study"
    root.mkdir(parents=True, exist_ok=True)
    busy = ConfigError(f"{root}: another process is running a study there; take another save_dir")
    with only_one(root, busy), StopRequest() as stop:
        folder = _find_or_make(root, config.describe())
        get_logger("study").info(f"Study: {folder}")
        study = _RunningStudy(config, folder, engine, engine_name, stop)
        for number, part in enumerate(config.parts, 1):
            study.run(part, f"{number} of {len(config.parts)}")
    return folder


def _find_or_make(root: Path, description: dict[str, Any]) -> Path:
    """Find the newest study of the same configs and data files, or begin one."""
    _remove_killed(root)
    for path in sorted(root.glob(f"*/{DESCRIPTION}"), reverse=True):
        if read_json_or_none(path) == description:
            return path.parent
    folder, held = claim_folder(root)
    write_json(description, folder / DESCRIPTION)
    held.let_go()
    return folder


def _remove_killed(root: Path) -> None:
    """Remove the folders of studies that had not begun, and files that were being written."""
    for lock in root.glob(".*.lock"):
        remove_killed(lock, [locked_path(lock)])
    for folder, _, _ in os.walk(root):
        remove_leftovers(Path(folder))


@dataclass(frozen=True)
class _RunningStudy:
    """A study under way; see `run_study`."""

    config: StudyConfig
    folder: Path
    engine: Engine
    engine_name: str
    stop: StopRequest
    logger: logging.Logger = field(default_factory=lambda: get_logger("study"))
    read: Callable[[str, str], StudyData] = field(default_factory=lambda: lru_cache(1)(read_data))

    def run(self, part: StudyPart, position: str) -> None:
        """Run a part, unless it is done."""
        if self._done(part) is not None:
            self.logger.info(f"{part.name} ({position}): done before")
            return
        self.logger.info(f"{part.name} ({position}): {PROTOCOLS[part.protocol]}")
        start = time.perf_counter()
        try:
            if part.is_cross_validated:
                config, engine_name = self._cross_val_config(part), self.engine_name
                trained = self._cross_validate(config)
            else:
                config, engine_name = self.config.of(part), "sequential"
                trained = self._train(part)
            runs, baselines = self._evaluate(part, trained)
        except Interrupted as interrupted:
            raise Interrupted(
                f"interrupted in {part.name}; {AGAIN}", interrupted.exit_code
            ) from None
        StudyResult(
            **vars(part),
            config=config.config,
            engine=engine_name,
            runs=runs,
            baselines=baselines,
            seconds=time.perf_counter() - start,
        ).write(self.folder)

    def _done(self, part: StudyPart) -> StudyResult | None:
        """Return what a part left, if it and its checkpoints are all there."""
        try:
            result = parse_result(self.folder, part)
        except (ConfigError, DataError):
            return None
        return result if _with_checkpoints(result.runs) == result.runs else None

    def _train(self, part: StudyPart) -> list[TrainedRun]:
        """Train with each of the pre-training seeds; those of an earlier call are not repeated."""
        path = self.folder / "trained" / f"{part.name}.json"
        trained = _read_trained(path)
        for seed in self.config.pretraining_seeds:
            if seed in [run.seed for run in trained]:
                continue
            self._heed_stop()
            config = self.config.of(part, seed)
            fitted = fit(
                config, self._log_epochs(part, seed), SharedInputs(self._data(config).source)
            )
            trained.append(TrainedRun(seed=seed, fold=None, checkpoint=str(fitted.best_path)))
            trained.sort(key=lambda run: self.config.pretraining_seeds.index(run.seed))
            write_json([asdict(run) for run in trained], path)
        return trained

    def _log_epochs(self, part: StudyPart, seed: int) -> Callable[[Log], None]:
        def log_epoch(log: Log) -> None:
            values = (f"{name} {value:.4f}" for name, value in log.items() if name != "epoch")
            epoch = int(log["epoch"])
            self.logger.info(f"{part.name}, seed {seed}, epoch {epoch}: {'  '.join(values)}")

        return log_epoch

    def _cross_validate(self, config: ConfigParser) -> list[TrainedRun]:
        results = cross_validate(config, engine=self.engine)
        paths = results["checkpoints"]
        return [
            TrainedRun(seed=seed, fold=fold, checkpoint=paths[str(seed)][str(fold)])
            for seed, fold in Plan(results["seeds"], results["folds"]).runs()
        ]

    def _cross_val_config(self, part: StudyPart) -> ConfigParser:
        """Return the config of a cross-validation, that of protocol c with its checkpoint."""
        if part.protocol != "c":
            return self.config.of(part)
        pretrained = self._done(StudyPart(part.task, "a"))
        if pretrained is None:
            raise ConfigError(f"{part.name} needs {part.task}-a, which is not there")
        return self.config.of(part, checkpoint=pretrained.runs[0].checkpoint)

    def _evaluate(
        self, part: StudyPart, trained: Iterable[TrainedRun]
    ) -> tuple[list[StudyRun], dict[str, list[BaselineRun]]]:
        """Write the predictions of all runs and of the baselines.

        The baselines of a variant would be those of the part itself.
        """
        runs: list[StudyRun] = []
        baselines: dict[str, list[BaselineRun]] = {}
        for run in trained:
            self._heed_stop()
            config = self._config_of(part, run)
            splits = split_rows(config, self._data(config))
            log, probabilities = predict(config, run.checkpoint, splits)
            stem = f"predictions/{part.name}/seed{run.seed}"
            stem += "" if run.fold is None else f"-fold{run.fold}"
            files = write_predictions(probabilities, splits, self.folder, stem)
            epochs = read_epochs(Path(run.checkpoint).with_name(EPOCHS_NAME))
            runs.append(StudyRun(**vars(run), predictions=files, epochs=epochs, log=log))
            if not part.variant:
                for name, fitted in write_baselines(config, splits, self.folder).items():
                    baselines.setdefault(name, []).append(fitted)
        return runs, baselines

    def _config_of(self, part: StudyPart, run: TrainedRun) -> ConfigParser:
        """Return the config of one run, its fold held out."""
        content = self.config.of(part, run.seed).config
        if run.fold is not None:
            content["data_loader"]["args"]["test_cross_val"] = run.fold
        return ConfigParser(content)

    def _data(self, config: ConfigParser) -> StudyData:
        arguments = config["data_loader"]["args"]
        return self.read(arguments["data_dir"], arguments["dataset"])

    def _heed_stop(self) -> None:
        if self.stop.is_set:
            raise Interrupted(f"interrupted; {AGAIN}", self.stop.exit_code)


def _with_checkpoints(runs: Sequence[TrainedRun]) -> list[TrainedRun]:
    return [run for run in runs if Path(run.checkpoint).is_file()]


def _read_trained(path: Path) -> list[TrainedRun]:
    """Read the trainings of an earlier call whose checkpoints are there; none of a damaged file."""
    content = read_json_or_none(path) if path.is_file() else []
    try:
        return _with_checkpoints(TypeAdapter(list[TrainedRun]).validate_python(content))
    except ValidationError:
        return []


def read_epochs(path: Path) -> list[EpochLog]:
    """Read the losses and metrics of each epoch; none where an older program trained.

    Raises:
        ConfigError: a line is something else.
    """
    if not path.is_file():
        return []
    try:
        lines = [parse_json(line) for line in path.read_bytes().splitlines()]
        return TypeAdapter(list[EpochLog]).validate_python(lines)
    except ValueError as error:
        raise ConfigError(
            f"{path} is damaged ({in_one_line(error)}); train that run again"
        ) from None
