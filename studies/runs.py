"""Runs the parts of a study, one after the other, and never again what is done.

Everything of a study lies below save_dir/study/<study id>; the trainings and the results of its
cross-validations where train.py and cross-val.py write theirs. A part is done once its file is
there; within a part, trainings that are done are found again.
"""

import functools
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from base.base_trainer import Log
from base.interrupt import StopRequest
from base.resume import EPOCHS_NAME
from cross_val.cross_validate import Engine, cross_validate
from cross_val.results import Plan
from studies.baselines import write_baselines
from studies.config import StudyConfig
from studies.predictions import StudyData, predict, split_rows, write_predictions
from studies.protocols import PROTOCOLS, Part
from trainer.fit import fit
from trainer.inputs import SharedInputs
from utils.cli import Interrupted
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.files import parse_json, read_json_or_none, write_json
from utils.locks import only_one, remove_leftovers
from utils.log import get_logger
from utils.run_folders import claim_folder, locked_path, remove_killed

DESCRIPTION = "study.json"
AGAIN = "the same call again goes on"
Record = dict[str, Any]
EngineOf = Callable[[ConfigParser], Engine]


def run_study(config: StudyConfig, engine_of: EngineOf, engine_name: str = "sequential") -> Path:
    """Run what is missing of the parts that are asked for.

    Args:
        config: of the study.
        engine_of: gives what trains the runs of a cross-validation.
        engine_name: its name, for the record.

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
        study = _Study(config, folder, engine_of, engine_name, stop)
        for number, part in enumerate(config.parts, 1):
            study.run(part, f"{number} of {len(config.parts)}")
    return folder


def _find_or_make(root: Path, description: Record) -> Path:
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


class _Study:
    """A study under way."""

    def __init__(
        self,
        config: StudyConfig,
        folder: Path,
        engine_of: EngineOf,
        engine_name: str,
        stop: StopRequest,
    ):
        self.config = config
        self.folder = folder
        self.engine_of = engine_of
        self.engine_name = engine_name
        self.stop = stop
        self.logger = get_logger("study")
        self._read = functools.lru_cache(maxsize=1)(StudyData.read)

    def run(self, part: Part, place: str) -> None:
        """Run a part, unless it is done."""
        if self._done(part) is not None:
            self.logger.info(f"{part.name} ({place}): done before")
            return
        self.logger.info(f"{part.name} ({place}): {PROTOCOLS[part.protocol]}")
        start = time.perf_counter()
        try:
            trained = self._cross_validate(part) if part.is_cross_validated else self._train(part)
            content = self._evaluate(part, trained)
        except Interrupted as interrupted:
            raise Interrupted(
                f"interrupted in {part.name}; {AGAIN}", interrupted.exit_code
            ) from None
        content["seconds"] = time.perf_counter() - start
        write_json(content, self._path(part))

    def _path(self, part: Part) -> Path:
        return self.folder / f"{part.name}.json"

    def _done(self, part: Part) -> Record | None:
        """Give what a part left, if it and its checkpoints are all there."""
        if not self._path(part).is_file():
            return None
        content = read_json_or_none(self._path(part))
        runs = content.get("runs") if isinstance(content, dict) else None
        is_whole = runs is not None and _with_checkpoints(runs) == runs
        return content if is_whole else None

    def _train(self, part: Part) -> list[Record]:
        """Train with each of the pre-training seeds; those of an earlier call are not repeated."""
        path = self.folder / "trained" / f"{part.name}.json"
        trained = _with_checkpoints(read_json_or_none(path) if path.is_file() else [])
        for seed in self.config.pretraining_seeds:
            if seed in [run["seed"] for run in trained]:
                continue
            self._heed_stop()
            config = self.config.of(part, seed)
            fitted = fit(config, self._tell(part, seed), SharedInputs(self._data(config).source))
            trained.append({"seed": seed, "fold": None, "checkpoint": str(fitted.best_path)})
            trained.sort(key=lambda run: self.config.pretraining_seeds.index(run["seed"]))
            write_json(trained, path)
        return trained

    def _tell(self, part: Part, seed: int) -> Callable[[Log], None]:
        def tell(log: Log) -> None:
            values = (f"{name} {value:.4f}" for name, value in log.items() if name != "epoch")
            epoch = int(log["epoch"])
            self.logger.info(f"{part.name}, seed {seed}, epoch {epoch}: {'  '.join(values)}")

        return tell

    def _cross_validate(self, part: Part) -> list[Record]:
        config = self._cross_val_config(part)
        results = cross_validate(config, engine=self.engine_of(config))
        return [
            {
                "seed": seed,
                "fold": fold,
                "checkpoint": results["checkpoints"][str(seed)][str(fold)],
            }
            for seed, fold in Plan(results["seeds"], results["folds"]).runs()
        ]

    def _cross_val_config(self, part: Part) -> ConfigParser:
        checkpoint = None
        if part.protocol == "c":
            pretrained = self._done(Part(part.task, "a"))
            if pretrained is None:
                raise ConfigError(f"{part.name} needs {part.task}-a, which is not there")
            checkpoint = pretrained["runs"][0]["checkpoint"]
        return self.config.of(part, checkpoint=checkpoint)

    def _evaluate(self, part: Part, trained: Iterable[Record]) -> Record:
        """Write the predictions of all runs and of the baselines; give what the part's file says.

        The baselines of a variant would be those of the part itself.
        """
        runs: list[Record] = []
        baselines: dict[str, list[Record]] = {}
        for run in trained:
            self._heed_stop()
            config = self._config_of(part, run)
            splits = split_rows(config, self._data(config))
            log, probabilities = predict(config, run["checkpoint"], splits)
            stem = f"predictions/{part.name}/seed{run['seed']}"
            stem += "" if run["fold"] is None else f"-fold{run['fold']}"
            files = write_predictions(probabilities, splits, self.folder, stem)
            epochs = read_epochs(Path(run["checkpoint"]).with_name(EPOCHS_NAME))
            runs.append({**run, "predictions": files, "epochs": epochs, "log": log})
            if not part.variant:
                for name, record in write_baselines(config, splits, self.folder).items():
                    baselines.setdefault(name, []).append(record)
        whole = self._cross_val_config(part) if part.is_cross_validated else self.config.of(part)
        return {
            "task": part.task,
            "protocol": part.protocol,
            "variant": part.variant,
            "config": whole.config,
            "engine": self.engine_name if part.is_cross_validated else "sequential",
            "runs": runs,
            "baselines": baselines,
        }

    def _config_of(self, part: Part, run: Record) -> ConfigParser:
        """Give the config of one run, its fold held out."""
        content = self.config.of(part, run["seed"]).config
        if run["fold"] is not None:
            content["data_loader"]["args"]["test_cross_val"] = run["fold"]
        return ConfigParser(content)

    def _data(self, config: ConfigParser) -> StudyData:
        arguments = config["data_loader"]["args"]
        return self._read(arguments["data_dir"], arguments["dataset"])

    def _heed_stop(self) -> None:
        if self.stop.is_set:
            raise Interrupted(f"interrupted; {AGAIN}", self.stop.exit_code)


def _with_checkpoints(runs: Any) -> list[Record]:
    """Keep the runs whose checkpoints are there; what something else wrote holds none."""
    return [
        run
        for run in (runs if isinstance(runs, list) else [])
        if isinstance(run, dict) and "seed" in run and Path(str(run.get("checkpoint"))).is_file()
    ]


def read_epochs(path: Path) -> list[Log]:
    """Read the losses and metrics of each epoch; none where an older program trained.

    Raises:
        ConfigError: a line is no JSON.
    """
    if not path.is_file():
        return []
    try:
        return [parse_json(line) for line in path.read_bytes().splitlines()]
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); train that run again") from None
