"""The config of a study: what its trainings share, and the config of each of them."""

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_loader.data_sets import DATASETS, has_known_name, parts_of
from data_loader.faces import read_faces
from studies.protocols import BY_IMAGE, PROTOCOLS, StudyPart, select
from trainer.check import check
from utils.config import ConfigParser
from utils.errors import ConfigError
from utils.files import file_stamps
from utils.options import (
    OPTIONS,
    Config,
    parse_assignment,
    read_config,
    set_by_path,
    show_only,
    task_settings,
)
from utils.paths import expand_paths
from utils.problems import JsonObject, read_object
from utils.schema import Seeds
from utils.text import cut, shown

CROSS_VALIDATION_KEYS = {"seeds", "num_cross_val"}


class ProtocolChanges(JsonObject):
    """What each protocol sets on top of the task's recipe, {"path.to.key": value}."""

    a: dict[str, Any]
    b: dict[str, Any]
    c: dict[str, Any]
    d: dict[str, Any]


class StudyKeys(JsonObject):
    """The keys that study.json has beside those of a config.

    `seeds` and `num_cross_val` are checked with the config of each cross-validation.
    """

    pretraining_seeds: Seeds
    protocols: ProtocolChanges
    seeds: Any
    num_cross_val: Any


class StudyConfig:
    """A checked study: the parts to run, and the config of each.

    From weak to strong: the shared keys of the file, the task's recipe, what `protocols` says of
    the protocol, the options of the command line.

    Args:
        content: of study.json.
        parts: to run.
        changes: {"path.to.key": value} of the command line.

    Raises:
        ConfigError: the study, or the config of one of its parts, has problems.
    """

    def __init__(
        self, content: Config, parts: Sequence[StudyPart], changes: Mapping[str, Any]
    ) -> None:
        self.parts = parts
        self._shared = copy.deepcopy(content)
        self._changes = {path: value for path, value in changes.items() if not _is_own(path)}
        of_study = {path: value for path, value in changes.items() if _is_own(path)}
        of_protocols = {path: of_study.pop(path) for path in changes if _is_of_protocols(path)}
        self._shared |= of_study
        own = {key: self._shared.pop(key) for key in StudyKeys.model_fields if key in self._shared}
        keys = read_object(StudyKeys, own, "study")
        self.pretraining_seeds = keys.pretraining_seeds
        self._cross_validation = keys.model_dump(include=CROSS_VALIDATION_KEYS)
        self._protocols: dict[str, Config] = keys.protocols.model_dump()
        for path, value in of_protocols.items():
            self._change_protocol(path, value)
        for part in parts:
            self._refuse_unfit(part)

    @classmethod
    def from_args(cls, arguments: argparse.Namespace) -> "StudyConfig":
        """Read the command line, and the file that it names."""
        if arguments.device is not None:
            show_only(arguments.device)
        if arguments.resume is not None:
            raise ConfigError("study.py goes on by itself when it is called again; leave -r out")
        if arguments.task is not None:
            task = cut(arguments.task)
            raise ConfigError(f"--task {task}: use --only {task} here")
        content = read_config(arguments.config, None, arguments.default_config)
        changes = {option.target: getattr(arguments, option.attribute) for option in OPTIONS}
        changes = {key: value for key, value in changes.items() if value is not None}
        changes |= dict(parse_assignment(text) for text in arguments.option)
        return cls(content, select(arguments.only), changes)

    def of(
        self, part: StudyPart, seed: int | None = None, checkpoint: Path | str | None = None
    ) -> ConfigParser:
        """Make the config of a part.

        Args:
            part: of the study.
            seed: of a training without cross-validation.
            checkpoint: to start from.
        """
        config = self._resolved(part)
        if checkpoint is not None:
            config["checkpoint"] = str(checkpoint)
        if seed is not None:
            config["seed"] = seed
        return ConfigParser(config, check=check)

    @property
    def save_dir(self) -> Path:
        """Where everything is written."""
        return Path(self.of(self.parts[0])["trainer"]["save_dir"])

    def describe(self) -> dict[str, Any]:
        """Return what all results depend on, by which another call knows whether it goes on.

        That is the configs of the whole study, whichever parts are asked for now, and size and
        time of change of the data files.
        """
        configs = {part.name: self._resolved(part) for part in select([])}
        paths = {path for config in configs.values() for path in _data_files(config)}
        return {
            "pretraining_seeds": self.pretraining_seeds,
            "configs": configs,
            "inputs": file_stamps(sorted(paths)),
        }

    def refuse_missing_data(self) -> None:
        """Look for the data files of all parts before any work.

        Raises:
            DataError: one is missing; the message says how to make it.
        """
        for part in self.parts:
            config = self._resolved(part)
            for path, source in _data_files(config).items():
                if not path.is_file():
                    read_faces(config["data_loader"]["args"]["data_dir"], source)

    def _resolved(self, part: StudyPart) -> Config:
        own = self._cross_validation if part.is_cross_validated else {}
        config = copy.deepcopy(own | self._shared)
        for changes in (
            task_settings(part.task, self._dataset_of_network(part)),
            self._protocols[part.protocol],
            self._changes,
            {"data_loader.args.validation_by": "image"} if part.variant == BY_IMAGE else {},
        ):
            for path, value in changes.items():
                set_by_path(config, path, copy.deepcopy(value))
        expand_paths(config)
        return config

    def _dataset_of_network(self, part: StudyPart) -> str:
        """Return the data set whose size decides on the network: c has that of a."""
        protocol = "a" if part.protocol == "c" else part.protocol
        return str((self._protocols[protocol] | self._changes).get("data_loader.args.dataset"))

    def _change_protocol(self, path: str, value: Any) -> None:
        """Change the configs of one protocol by protocols.<one>.<key>."""
        _, protocol, key = (*path.split(".", 2), "", "")[:3]
        if protocol not in PROTOCOLS or not key:
            raise ConfigError(
                f"-o {cut(path)}: expected protocols.<a, b, c or d>.<key of a config>"
            )
        self._protocols[protocol][key] = value

    def _refuse_unfit(self, part: StudyPart) -> None:
        match self._resolved(part):
            case {"data_loader": {"args": {"classes": groups}}} if groups is not None:
                raise ConfigError(
                    f"{part.name}: data_loader.args.classes: a study judges age in 8 and in 101 "
                    "classes; leave it out"
                )
        try:
            config = self.of(part)
        except ConfigError as error:
            raise ConfigError(f"{part.name}: {error}") from None
        dataset = config["data_loader"]["args"]["dataset"]
        if not has_known_name(dataset):
            raise ConfigError(
                f"{part.name}: data_loader.args.dataset is {shown(dataset)}, but a study compares "
                f"with what is published of the known data sets ({', '.join(DATASETS)}); "
                "cross-validate your own with cross-val.py"
            )
        if part.is_cross_validated and dataset.lower() != "adience":
            raise ConfigError(
                f"{part.name}: data_loader.args.dataset is {dataset}, but protocols c and d need "
                "the folds of Adience; set it for one protocol with "
                "-o protocols.a.data_loader.args.dataset=..."
            )


def _data_files(config: Config) -> dict[Path, str]:
    """Return the data files that a config reads, and the data set that each holds."""
    arguments = config["data_loader"]["args"]
    parts = parts_of(arguments["data_dir"], arguments["dataset"])
    return {part.path: part.name for part in parts}


def _is_own(path: str) -> bool:
    return path.partition(".")[0] in StudyKeys.model_fields


def _is_of_protocols(path: str) -> bool:
    return path.partition(".")[0] == "protocols"
