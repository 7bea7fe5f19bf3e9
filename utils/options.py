"""The command line that all scripts share, and the files that it names."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from utils.errors import ConfigError
from utils.files import MAX_DEPTH, RefusedJsonError, parse_json, read_json
from utils.paths import user_path
from utils.text import cut, nearest

TASKS_PATH = Path(__file__).parent.parent / "configs" / "tasks.json"
BLOCK_KEYS = ("num_residuals_per_block", "num_blocks", "add_residual", "add_IC")
"""Arguments of a network that decide on its weights, but those of the last layer."""

Config = dict[str, Any]

AGE_GROUPS = "data_loader.args.classes"
CLASS_COUNTS = ("data_loader.args.num_classes", "arch.args.num_classes")
"""Keys of a config: groups of ages, and what follows from them."""


class CustomArg(NamedTuple):
    """An option of its own for one key of the config."""

    flags: Sequence[str]
    type: Callable[[str], Any]
    target: str
    help: str = ""

    @property
    def attribute(self) -> str:
        """Name of the option's value in what argparse parsed: its first long flag."""
        named = [flag for flag in self.flags if flag.startswith("--")] or self.flags
        return named[0].lstrip("-").replace("-", "_")


OPTIONS = (
    CustomArg(("--lr", "--learning_rate"), float, "optimizer.args.lr", "learning rate"),
    CustomArg(("--bs", "--batch_size"), int, "data_loader.args.batch_size", "batch size"),
    CustomArg(("--data_dir",), str, "data_loader.args.data_dir", "folder of the data sets"),
)


def script_parser(
    description: str | None,
    default_config: str | None,
    resume_help: str = "checkpoint to go on from",
    resume_options: Mapping[str, Any] = MappingProxyType({"metavar": "CHECKPOINT"}),
) -> argparse.ArgumentParser:
    """Make the argument parser that all scripts share.

    Args:
        description: what the script does.
        default_config: JSON read when neither -c nor -r is given.
        resume_help: what -r names.
        resume_options: how argparse reads it.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(default_config=default_config)
    default = default_config or "the checkpoint's"
    parser.add_argument("-c", "--config", metavar="JSON", help=f"config file (default: {default})")
    parser.add_argument("-r", "--resume", help=resume_help, **resume_options)
    parser.add_argument(
        "-d", "--device", metavar="GPU", help="indices of the GPUs to see, such as 0; or cpu"
    )
    parser.add_argument("--task", help=f"set loader, classes and recipe: {', '.join(task_names())}")
    for option in OPTIONS:
        parser.add_argument(
            *option.flags, type=option.type, help=f"{option.help} ({option.target})", metavar="X"
        )
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="set any key, such as -o trainer.epochs=3; the value is JSON, else a string",
    )
    return parser


def task_names() -> list[str]:
    """List the tasks that have a recipe."""
    return list(read_json(TASKS_PATH)["tasks"])


def task_settings(name: str, dataset: str = "") -> dict[str, Any]:
    """Return what `--task` sets, {"path.to.key": value}: the recipe, and the task's own keys.

    Args:
        name: of the task.
        dataset: what is trained on, in any case; large ones, also in a sum, have their own network.

    Raises:
        ConfigError: unknown task.
    """
    content = read_json(TASKS_PATH)
    if name not in content["tasks"]:
        raise ConfigError(f"--task {cut(name)}: unknown task, {nearest(name, content['tasks'])}")
    settings: dict[str, Any] = {**content["recipe"], **content["tasks"][name]}
    large = content["large"]
    is_large = not {*dataset.lower().split("+")}.isdisjoint(large["datasets"])
    return settings | (large["recipe"] if is_large else {})


def _network_of(checkpoint_path: Path) -> dict[str, Any]:
    """Return what the blocks of a checkpoint's network are made of, where that is recorded."""
    from utils.checkpoint import load_checkpoint

    match load_checkpoint(checkpoint_path).content:
        case {"config": {"arch": {"args": dict(arguments)}}}:
            return {f"arch.args.{key}": arguments[key] for key in BLOCK_KEYS if key in arguments}
    return {}


def read_config(config_path: str | None, resume: str | None, default: str | None) -> Config:
    """Read the config of -c, or the checkpoint's with -r, with the top-level keys of -c on top.

    Raises:
        ConfigError: there is none, or it is no JSON object.
        CheckpointError: the checkpoint is unfit.
        PathError: no file can have a path.
    """
    if resume is None:
        return read_json_config(config_path, default)
    config = _config_of(user_path(resume, "-r"))
    if config_path is not None:
        config.update(read_json_config(config_path))
    return config


def read_json_config(config_path: str | None, default: str | None = None) -> Config:
    """Read the JSON object of -c, or of the default where -c is not given.

    Raises:
        ConfigError: there is none, or it is missing, no JSON, or no object.
        PathError: no file can have the path.
    """
    given = default if config_path is None else config_path
    if given is None:
        raise ConfigError("nothing to work on: name a checkpoint with -r, or a config with -c")
    path = user_path(given, "-c")
    return _object(read_json(path), str(path))


def _config_of(checkpoint_path: Path) -> Config:
    """Find the config beside a checkpoint, or inside it when it was moved."""
    from utils.checkpoint import load_checkpoint

    beside = checkpoint_path.parent / "config.json"
    if checkpoint_path.is_file() and beside.is_file():
        return _object(read_json(beside), str(beside))
    return load_checkpoint(checkpoint_path).config


def _object(content: Any, path: str) -> Config:
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a JSON object was expected, got {type(content).__name__}")
    return content


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split "path.to.key=value"; the value is JSON, and a string where it is none.

    Raises:
        ConfigError: there is no key or no equals sign, or the value is JSON that is refused.

    >>> parse_assignment("trainer.epochs=3"), parse_assignment("data_loader.args.dataset=wiki")
    (('trainer.epochs', 3), ('data_loader.args.dataset', 'wiki'))
    """
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"-o {cut(text)}: expected KEY=VALUE, such as -o trainer.epochs=3")
    try:
        return path, parse_json(value)
    except json.JSONDecodeError as error:
        if value[:1] in ("{", "["):
            raise ConfigError(f"-o {cut(text)}: the value is not JSON: {error.msg}") from None
        return path, value
    except RefusedJsonError as error:
        raise ConfigError(f"-o {cut(text)}: the value {error}") from None


def set_task(config: Config, name: str, chosen: Config) -> None:
    """Set what `--task` says; groups of ages that the task does not name are gone.

    Args:
        config: to change.
        name: of the task.
        chosen: the config with the options on top: they may name the data set, and the checkpoint
            to start from, whose blocks are taken.

    Raises:
        ConfigError: unknown task, or the config has no sections.
        UserError: the checkpoint cannot be read.
    """
    match chosen:
        case {"data_loader": {"args": {"dataset": str(dataset)}}}:
            settings = task_settings(name, dataset)
        case _:
            settings = task_settings(name)
    if isinstance(path := chosen.get("checkpoint"), str):
        settings |= _network_of(user_path(path, "checkpoint"))
    if AGE_GROUPS not in settings:
        _remove(config, AGE_GROUPS)
    for key, value in settings.items():
        set_by_path(config, key, value)


def set_option(config: Config, text: str) -> None:
    """Set what "path.to.key=value" says; the number of classes follows from groups of ages.

    Raises:
        ConfigError: as of `parse_assignment` and `set_by_path`.
    """
    path, value = parse_assignment(text)
    set_by_path(config, path, value)
    if path.replace(";", ".") == AGE_GROUPS and isinstance(value, list) and value:
        for count in CLASS_COUNTS:
            _remove(config, count)


def _remove(config: Config, path: str) -> None:
    """Remove the key at the end of "section.args.key", where it is."""
    section, _, key = path.split(".")
    match config.get(section):
        case {"args": dict(arguments)}:
            arguments.pop(key, None)


def show_only(device: str) -> None:
    """Hide all GPUs but these from torch, which must not have looked yet.

    Raises:
        ConfigError: neither "cpu" nor indices.
    """
    indices = device.removeprefix("cuda:")
    if device == "cpu":
        indices = ""
    elif not all(index.strip().isdigit() for index in indices.split(",")):
        raise ConfigError(f"-d {cut(device)}: expected cpu, or indices of GPUs such as 0 or 0,1")
    os.environ["CUDA_VISIBLE_DEVICES"] = indices


def set_by_path(config: Config, path: str, value: Any) -> None:
    """Set `config["a"]["b"]` for the path "a.b" (or "a;b"), making objects on the way.

    A section given by its bare name, such as "loss": "cse", becomes {"type": "cse", "args": {}}.

    Raises:
        ConfigError: the path leads through something that is not an object, or too deep.
    """
    *parents, last = path.replace(";", ".").split(".")
    if len(parents) >= MAX_DEPTH:
        raise ConfigError(f"{cut(path)}: more than {MAX_DEPTH} keys below each other")
    section = config
    for depth, key in enumerate(parents):
        inner = section.get(key)
        if inner is None:
            inner = {}
        elif isinstance(inner, str) and (*parents, last)[depth + 1] in ("type", "args"):
            inner = {"type": inner, "args": {}}
        elif not isinstance(inner, dict):
            raise ConfigError(
                f"{cut(path)}: {cut('.'.join(parents[: depth + 1]))} has no keys below it"
            )
        section[key] = inner
        section = inner
    section[last] = value
