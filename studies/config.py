"""The config of a study: what its trainings share, and the config of each of them."""

import argparse
import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data_loader.faces import DATASETS, data_path, read_faces
from studies.protocols import BY_IMAGE, PROTOCOLS, Part, select
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
from utils.text import cut

CROSS_VALIDATION_KEYS = ("seeds", "num_cross_val")
OWN_KEYS = ("pretraining_seeds", "protocols", *CROSS_VALIDATION_KEYS)


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

    def __init__(self, content: Config, parts: Sequence[Part], changes: Mapping[str, Any]):
        self.parts = parts
        self._content = copy.deepcopy(content)
        self._changes = {key: value for key, value in changes.items() if not _is_own(key)}
        for path, value in changes.items():
            if _is_own(path):
                _set_own(self._content, path, value)
        _refuse_problems(self._content)
        self.pretraining_seeds: list[int] = self._content["pretraining_seeds"]
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
        self, part: Part, seed: int | None = None, checkpoint: Path | str | None = None
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
        """Give what all results depend on, so that another call can tell whether it goes on.

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

    def _resolved(self, part: Part) -> Config:
        dropped = {"pretraining_seeds", "protocols"}
        dropped |= set() if part.is_cross_validated else set(CROSS_VALIDATION_KEYS)
        shared = {key: value for key, value in self._content.items() if key not in dropped}
        config = copy.deepcopy(shared)
        for changes in (
            task_settings(part.task),
            self._content["protocols"][part.protocol],
            self._changes,
            {"data_loader.args.validation_by": "image"} if part.variant == BY_IMAGE else {},
        ):
            for path, value in changes.items():
                set_by_path(config, path, copy.deepcopy(value))
        expand_paths(config)
        return config

    def _refuse_unfit(self, part: Part) -> None:
        try:
            config = self.of(part)
        except ConfigError as error:
            raise ConfigError(f"{part.name}: {error}") from None
        dataset = config["data_loader"]["args"]["dataset"]
        if part.is_cross_validated and dataset.lower() != "adience":
            raise ConfigError(
                f"{part.name}: data_loader.args.dataset is {dataset}, but protocols c and d need "
                "the folds of Adience; set it for one protocol with "
                "-o protocols.a.data_loader.args.dataset=..."
            )


def _data_files(config: Config) -> dict[Path, str]:
    """Give the data files that a config reads, and the data set that each holds."""
    arguments = config["data_loader"]["args"]
    sources = DATASETS.get(arguments["dataset"].lower(), ())
    return {data_path(arguments["data_dir"], source): source for source in sources}


def _is_own(path: str) -> bool:
    return path.partition(".")[0] in OWN_KEYS


def _set_own(content: Config, path: str, value: Any) -> None:
    """Set a key of the study itself; protocols.<one>.<key> changes the configs of one protocol."""
    first, _, rest = path.partition(".")
    if first != "protocols":
        content[path] = value
        return
    protocol, _, key = rest.partition(".")
    if protocol not in PROTOCOLS or not key:
        raise ConfigError(f"-o {cut(path)}: expected protocols.<a, b, c or d>.<key of a config>")
    content.setdefault("protocols", {}).setdefault(protocol, {})[key] = value


def _refuse_problems(content: Config) -> None:
    problems = [f"{key}: missing" for key in OWN_KEYS if key not in content]
    protocols = content.get("protocols", {})
    if not isinstance(protocols, dict) or not all(
        isinstance(protocols.get(name), dict) for name in PROTOCOLS
    ):
        problems.append("protocols: expected an object with the objects a, b, c and d")
    seeds = content.get("pretraining_seeds", [0])
    is_list = isinstance(seeds, list) and len(seeds) > 0
    if not is_list or not all(type(seed) is int and seed >= 0 for seed in seeds):
        problems.append("pretraining_seeds: expected a list of whole numbers, 0 or more")
    elif len(set(seeds)) < len(seeds):
        problems.append("pretraining_seeds: a seed occurs twice")
    if problems:
        raise ConfigError("\n  ".join(["study:", *problems]) if problems[1:] else problems[0])
