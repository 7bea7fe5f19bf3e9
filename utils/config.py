"""JSON configs, and the options that change them.

Precedence, from weak to strong: the file (with -r: the checkpoint's config, then -c on top),
--task, named options such as --lr, and -o path=value.
"""

import argparse
import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from utils import options as command_line
from utils.errors import ConfigError
from utils.files import refuse_unwritable, write_json
from utils.legacy.configs import from_original
from utils.locks import Held
from utils.log import get_logger
from utils.options import Config, CustomArg, set_by_path
from utils.paths import expand_paths, user_path
from utils.problems import refusal
from utils.run_folders import claim_folder, claim_named_folder, discard, remove_killed_runs
from utils.schema import with_defaults

Check = Callable[[Config], list[str]]


class ConfigParser:
    """A checked config, the objects it names, and the folders of its run.

    Nothing is written before `create_run`, and the config cannot change: reading gives copies.
    In paths `~` has become the home folder.

    Args:
        config: content of a JSON config.
        resume: checkpoint to go on from.
        modification: {"path.to.key": value} on top of the config; None values are left out.
        run_id: name of the run's folders; by default the time.
        folder: where to write instead of the config's trainer.save_dir.
        check: gives the problems of a config; all are raised in one error.

    Raises:
        ConfigError: the config has problems.
        PathError: no file can have the checkpoint's path.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        resume: Path | str | None = None,
        modification: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        check: Check | None = None,
        folder: Path | None = None,
    ):
        changed = from_original(copy.deepcopy(dict(config)))
        for path, value in (modification or {}).items():
            if value is not None:
                set_by_path(changed, path, copy.deepcopy(value))
        expand_paths(changed)
        self._config = with_defaults(changed)
        self.resume = None if resume is None else user_path(resume, "-r")
        self._run_id = run_id
        self._held: Held | None = None
        self.folder = folder
        problems = [] if check is None else check(self.config)
        if problems:
            raise refusal("config", problems)

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
            command_line.show_only(args.device)
        config = from_original(
            command_line.read_config(args.config, args.resume, args.default_config)
        )
        if args.task is not None:
            chosen = copy.deepcopy(config)
            _set_options(chosen, args, options)
            chosen["checkpoint"] = args.resume or chosen.get("checkpoint")
            command_line.set_task(config, args.task, chosen)
        _set_options(config, args, options)
        return cls(config, args.resume, check=check)

    @property
    def config(self) -> Config:
        """The whole config, as a copy."""
        return copy.deepcopy(self._config)

    def __getitem__(self, name: str) -> Any:
        """Return a copy of one top-level value."""
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
        """Return the logger of one part of the program, by default at the config's verbosity."""
        return get_logger(
            name, self._config["trainer"]["verbosity"] if verbosity is None else verbosity
        )

    def create_run(self) -> None:
        """Make the folders of this run and write `config.json`; the run id is then unique.

        They are held until `running` ends, or the process.

        Raises:
            FileExistsError: the run id was given and exists.
        """
        if self._run_id is None:
            folder, self._held = claim_folder(self.models_dir)
            self._run_id = folder.name
        else:
            self._held = claim_named_folder(self.save_dir)
        write_json(self._config, self.save_dir / "config.json")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let go of the run's folders, if the block makes any, when it ends.

        An interruption removes them, unless there is something of worth in them.
        """
        try:
            yield
        except (KeyboardInterrupt, GeneratorExit):
            if self._held is not None:
                with contextlib.suppress(OSError):
                    discard([self.save_dir, self.log_dir])
            raise
        finally:
            if self._held is not None:
                self._held.let_go()
                self._held = None

    def remove_killed_runs(self) -> None:
        """Remove what killed runs left where this one writes; see `utils.run_folders`."""
        remove_killed_runs(self._root)

    def refuse_unwritable(self) -> None:
        """Check, before any work, that a run of this config can be written.

        Raises:
            PathError: it cannot.
        """
        refuse_unwritable(self._root, self.models_dir, self._logs_dir)

    @property
    def _name(self) -> str:
        return str(self._config["name"])

    @property
    def _root(self) -> Path:
        return self.folder or Path(self._config["trainer"]["save_dir"])

    @property
    def models_dir(self) -> Path:
        """Folder of the runs of this name."""
        return self._root / "models" / self._name

    @property
    def run_id(self) -> str:
        """Name of the run's folders."""
        if self._run_id is None:
            raise RuntimeError("create_run() names the run; it was not called yet")
        return self._run_id

    @property
    def save_dir(self) -> Path:
        """Folder of config.json and the checkpoints."""
        return self.models_dir / self.run_id

    @property
    def log_dir(self) -> Path:
        """Folder of the log and the TensorBoard events."""
        return self._logs_dir / self.run_id

    @property
    def _logs_dir(self) -> Path:
        return self._root / "log" / self._name


def _set_options(config: Config, args: argparse.Namespace, options: Sequence[CustomArg]) -> None:
    """Set what the named options say, then -o."""
    for option in (*command_line.OPTIONS, *options):
        value = getattr(args, option.attribute)
        if value is not None:
            set_by_path(config, option.target, value)
    for text in args.option:
        command_line.set_option(config, text)
