"""The command line of a search, which has the options of the other scripts."""

import argparse
from pathlib import Path
from typing import Any

from cluster.session import address_of
from search.run import CONFIG_NAME, find_unfinished
from search.space import Search, read_search, task_changes
from utils.errors import ConfigError
from utils.options import parse_assignment, read_json_config, show_only
from utils.paths import user_path
from utils.text import cut

NEWEST = object()
"""What --resume is without a folder: go on with the newest search of the same config."""

FLAT_KEYS = {"lr": "lr", "bs": "batch_size", "data_dir": "data_dir"}
"""The keys of a search that the named options of all scripts set."""


def what_to_search(arguments: argparse.Namespace) -> tuple[Search, str | None, Path | None]:
    """Return the search, the cluster's address, and the folder of a search to go on with.

    Raises:
        ConfigError: the config is wrong, or there is no search to go on with.
    """
    if arguments.device is not None:
        show_only(arguments.device)
    address = address_of(arguments.address)
    if arguments.resume not in (None, NEWEST):
        folder = user_path(arguments.resume, "--resume")
        return _resumed(arguments, folder), address, folder
    search = read_search(_flat_config(arguments))
    folder_or_none = None if arguments.resume is None else find_unfinished(search.config)
    return search, address, folder_or_none


def _flat_config(arguments: argparse.Namespace) -> dict[str, Any]:
    config: dict[str, Any] = read_json_config(arguments.config, arguments.default_config)
    if arguments.task is not None:
        config.pop("classes", None)
        config |= task_changes(arguments.task)
    for name, key in FLAT_KEYS.items():
        value = getattr(arguments, name, None)
        if value is not None:
            config[key] = value
    options = dict(parse_assignment(text) for text in arguments.option)
    if options.get("classes") is not None:
        config.pop("num_classes", None)  # it follows from the groups
    return config | options


def _resumed(arguments: argparse.Namespace, folder: Path) -> Search:
    """Read the search of a folder, whose config is the one to go on with."""
    changes = ["-c"] if arguments.config else []
    changes += ["--task"] if arguments.task else []
    changes += [f"-o {cut(text)}" for text in arguments.option]
    changes += [f"--{name}" for name in FLAT_KEYS if getattr(arguments, name, None) is not None]
    if changes:
        raise ConfigError(
            f"--resume {folder} goes on with the config of that search; leave {changes[0]} out"
        )
    if not (folder / CONFIG_NAME).is_file():
        raise ConfigError(f"--resume {folder}: no search, it holds no {CONFIG_NAME}")
    return read_search(read_json_config(str(folder / CONFIG_NAME)))
