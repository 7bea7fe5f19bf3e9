"""JSON configs, and the options that change them.

Precedence, from weak to strong: the file (with -r: the checkpoint's config, then -c on top),
--task, named options such as --lr, and -o path=value.
"""

import argparse
import copy
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from utils.errors import ConfigError
from utils.files import read_json, write_json
from utils.log import get_logger
from utils.original import from_original
from utils.schema import DEFAULTS, TRAINER_DEFAULTS, nearest

TASKS_PATH = Path(__file__).parent.parent / "configs" / "tasks.json"
Config = dict[str, Any]
Check = Callable[[Config], list[str]]


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


def script_parser(description: str | None, default_config: str | None) -> argparse.ArgumentParser:
    """Make the argument parser that all scripts share.

    Args:
        description: what the script does.
        default_config: JSON read when neither -c nor -r is given.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(default_config=default_config)
    parser.add_argument(
        "-c", "--config", metavar="JSON", help=f"config file (default: {default_config})"
    )
    parser.add_argument("-r", "--resume", metavar="CHECKPOINT", help="checkpoint to go on from")
    parser.add_argument(
        "-d", "--device", metavar="GPU", help="indices of the GPUs to see, such as 0; or cpu"
    )
    parser.add_argument("--task", help=f"set loader, classes and recipe: {', '.join(_tasks())}")
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


class ConfigParser:
    """A checked config, the objects it names, and the folders of its run.

    Nothing is written before `create_run`, and the config cannot change: reading gives copies.

    Args:
        config: content of a JSON config.
        resume: checkpoint to go on from.
        modification: {"path.to.key": value} on top of the config; None values are left out.
        run_id: name of the run's folders; by default the time.
        check: gives the problems of a config; all are raised in one error.

    Raises:
        ConfigError: the config has problems.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        resume: Path | str | None = None,
        modification: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        check: Check | None = None,
    ):
        changed = from_original(copy.deepcopy(dict(config)))
        for path, value in (modification or {}).items():
            if value is not None:
                set_by_path(changed, path, copy.deepcopy(value))
        self._config = _with_defaults(changed)
        self.resume = None if resume is None else Path(resume)
        self._run_id = run_id
        problems = [] if check is None else check(self.config)
        if len(problems) == 1:
            raise ConfigError(f"config: {problems[0]}")
        if problems:
            raise ConfigError("\n  ".join([f"config: {len(problems)} problems", *problems]))

    @classmethod
    def from_args(
        cls,
        args: argparse.ArgumentParser | argparse.Namespace,
        options: Sequence[CustomArg] = (),
        check: Check | None = None,
    ) -> "ConfigParser":
        """Read the command line, the files it names, and check the result.

        Args:
            args: a parser made by `script_parser`, or what it parsed.
            options: options of the script's own, beside the shared ones.
            check: gives the problems of a config.
        """
        if isinstance(args, argparse.ArgumentParser):
            for option in options:
                args.add_argument(*option.flags, type=option.type, help=option.help)
            args = args.parse_args()
        if args.device is not None:
            _show_only(args.device)
        config = from_original(_read_config(args.config, args.resume, args.default_config))
        if args.task is not None:
            for path, value in _task(args.task).items():
                set_by_path(config, path, value)
        for option in (*OPTIONS, *options):
            value = getattr(args, option.attribute)
            if value is not None:
                set_by_path(config, option.target, value)
        for text in args.option:
            set_by_path(config, *_parse_assignment(text))
        return cls(config, args.resume, check=check)

    @property
    def config(self) -> Config:
        """The whole config, as a copy."""
        return copy.deepcopy(self._config)

    def __getitem__(self, name: str) -> Any:
        """Give a copy of one top-level value."""
        return copy.deepcopy(self._config[name])

    def init_obj(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Any:
        """Call what section `name` names, with the arguments of the config and these.

        `config.init_obj("arch", module, a, b=1)` is `module.<type>(a, b=1, **<args>)`.

        Raises:
            ConfigError: the config sets a keyword that the program passes.
        """
        return self.init_ftn(name, module, *args, **kwargs)()

    def init_ftn(self, name: str, module: Any, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        """Like `init_obj`, but fix these arguments instead of calling."""
        section = self[name]
        if isinstance(section, str):
            section = {"type": section}
        arguments = section.get("args", {})
        twice = sorted(arguments.keys() & kwargs.keys())
        if twice:
            raise ConfigError(f"{name}.args.{twice[0]} is set by the program, not by the config")
        return partial(getattr(module, section["type"]), *args, **arguments, **kwargs)

    def get_logger(self, name: str, verbosity: int | None = None) -> Any:
        """Give the logger of one part of the program, by default at the config's verbosity."""
        return get_logger(
            name, self._config["trainer"]["verbosity"] if verbosity is None else verbosity
        )

    def create_run(self) -> None:
        """Make the folders of this run and write `config.json`; the run id is then unique.

        Raises:
            FileExistsError: the run id was given and exists.
        """
        if self._run_id is None:
            self._run_id = claim_path(self._models_dir, as_folder=True).name
        else:
            self.save_dir.mkdir(parents=True)
        write_json(self._config, self.save_dir / "config.json")

    @property
    def _models_dir(self) -> Path:
        return Path(self._config["trainer"]["save_dir"]) / "models" / str(self._config["name"])

    @property
    def run_id(self) -> str:
        """Name of the run's folders."""
        if self._run_id is None:
            raise RuntimeError("create_run() names the run; it was not called yet")
        return self._run_id

    @property
    def save_dir(self) -> Path:
        """Folder of config.json and the checkpoints."""
        return self._models_dir / self.run_id

    @property
    def log_dir(self) -> Path:
        """Folder of the log and the TensorBoard events."""
        root = Path(self._config["trainer"]["save_dir"])
        return root / "log" / str(self._config["name"]) / self.run_id


def set_by_path(config: Config, path: str, value: Any) -> None:
    """Set `config["a"]["b"]` for the path "a.b" (or "a;b"), making objects on the way.

    A section given by its bare name, such as "loss": "cse", becomes {"type": "cse", "args": {}}.

    Raises:
        ConfigError: the path leads through something that is not an object.
    """
    *parents, last = path.replace(";", ".").split(".")
    place = config
    for depth, key in enumerate(parents):
        inner = place.get(key)
        if inner is None:
            inner = {}
        elif isinstance(inner, str) and (*parents, last)[depth + 1] in ("type", "args"):
            inner = {"type": inner, "args": {}}
        elif not isinstance(inner, dict):
            raise ConfigError(f"{path}: {'.'.join(parents[: depth + 1])} has no keys below it")
        place[key] = inner
        place = inner
    place[last] = value


def claim_path(parent: Path, suffix: str = "", as_folder: bool = False) -> Path:
    """Make an empty file or folder named after the time; the name is nobody else's.

    Returns:
        `parent`/<run id><suffix>.
    """
    parent.mkdir(parents=True, exist_ok=True)
    stem = datetime.now().strftime("%Y%m%d_%H%M%S")
    for count in itertools.count(1):
        path = parent / f"{stem}{'' if count == 1 else f'-{count}'}{suffix}"
        try:
            path.mkdir() if as_folder else path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError("unreachable")


def _with_defaults(config: Config) -> Config:
    filled = {**DEFAULTS, **config}
    trainer = filled.get("trainer")
    if isinstance(trainer, dict):
        filled["trainer"] = {**TRAINER_DEFAULTS, **trainer}
    return filled


def _read_config(config_path: str | None, resume: str | None, default: str | None) -> Config:
    if resume is None:
        path = config_path or default
        if path is None:
            raise ConfigError("no config: name one with -c, or a checkpoint with -r")
        return _object(read_json(path), path)
    config = _config_of(Path(resume))
    if config_path is not None:
        config.update(_object(read_json(config_path), config_path))
    return config


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


def _tasks() -> dict[str, Config]:
    tasks: dict[str, Config] = read_json(TASKS_PATH)
    return tasks


def _task(name: str) -> Config:
    tasks = _tasks()
    if name not in tasks:
        raise ConfigError(f"--task {name}: unknown task, {nearest(name, tasks)}")
    return tasks[name]


def _parse_assignment(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise ConfigError(f"-o {text}: expected KEY=VALUE, such as -o trainer.epochs=3")
    try:
        return path, json.loads(value)
    except json.JSONDecodeError:
        return path, value


def _show_only(device: str) -> None:
    """Hide all GPUs but these from torch, which must not have looked yet."""
    indices = device.removeprefix("cuda:")
    if device == "cpu":
        indices = ""
    elif not all(index.strip().isdigit() for index in indices.split(",")):
        raise ConfigError(f"-d {device}: expected cpu, or indices of GPUs such as 0 or 0,1")
    os.environ["CUDA_VISIBLE_DEVICES"] = indices
