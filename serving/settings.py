"""What the server can be told: by option, by environment variable, or by `create_app(config)`.

Every setting has one name: `max_faces` is the option --max-faces, the variable MAX_FACES, and the
key "max_faces".
"""

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, InitVar, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from faces.photo import MAX_SEND_SIDE
from serving.responses import read_origins
from utils.addresses import server_url
from utils.errors import ConfigError, DataError
from utils.paths import user_text
from utils.text import shown

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


def _setting(default: Any, text: str, least: float | None = None, most: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "least": least, "most": most})


def _path(default: str, text: str) -> Any:
    return field(default=default, metadata={"help": text, "is_path": True})


@dataclass(frozen=True)
class ServerSettings:
    """How the server runs; see the help texts.

    Args:
        variables: names of the settings that environment variables gave.

    Attributes:
        from_environment: the same.

    Raises:
        ConfigError: a value is out of its range.
    """

    age_model: str = _path("models/age.pth", "file of the age model")
    gender_model: str = _path("models/gender.pth", "file of the gender model")
    face_server_url: str = _setting("http://127.0.0.1:10002/", "face server behind POST /image")
    host: str = _setting("127.0.0.1", "address to listen on; 0.0.0.0 for all")
    port: int = _setting(10003, "port to listen on; 0 takes a free one", 0, 65535)
    device: str = _setting("auto", f"{', '.join(DEVICES)}: where the networks run")
    mc_precision: str = _setting(
        "auto",
        f"{', '.join(PRECISIONS)}: of passes with dropout; auto is bfloat16 where it is fast",
    )
    threads: int = _setting(0, "threads of the networks; 0 takes all cores, or OMP_NUM_THREADS", 0)
    max_body_bytes: int = _setting(16 * 2**20, "largest body of a request, in bytes", 1)
    max_faces: int = _setting(8192, "most faces in a request", 1)
    max_mc_samples: int = _setting(1024, "most passes with dropout", 1)
    max_mc_passes: int = _setting(2**18, "most faces x passes in a request", 1)
    max_queue: int = _setting(32, "most requests worked on at once; one more is told to wait", 1)
    max_images: int = _setting(4, "most pictures worked on at once", 1)
    max_connections: int = _setting(128, "most connections open at once", 1)
    request_timeout_s: float = _setting(30.0, "seconds that a request may take to arrive", 0.1)
    face_timeout_s: float = _setting(20.0, "seconds that the face server may take", 0.1)
    allowed_origins: str = _setting(
        "", "origins whose pages may ask, such as https://faces.example, separated by commas"
    )
    image_size: int = _setting(
        640, "side in pixels of the square sent to the face server", 16, MAX_SEND_SIDE
    )

    variables: InitVar[frozenset[str]] = frozenset()
    from_environment: ClassVar[frozenset[str]] = frozenset()  # each object its own: no setting

    def __post_init__(self, variables: frozenset[str]) -> None:
        object.__setattr__(self, "from_environment", variables)
        for entry in fields(ServerSettings):
            value, name = getattr(self, entry.name), self.name_of(entry.name)
            least, most = entry.metadata.get("least"), entry.metadata.get("most")
            if least is not None and not least <= value < math.inf:
                raise ConfigError(f"{name} is {shown(value)}, expected {least} or more")
            if most is not None and value > most:
                raise ConfigError(f"{name} is {shown(value)}, expected {most} or less")
        for key, known in (("device", DEVICES), ("mc_precision", PRECISIONS)):
            if getattr(self, key) not in known:
                raise ConfigError(
                    f"{self.name_of(key)} is {shown(getattr(self, key))}, expected one of "
                    f"{', '.join(known)}"
                )
        try:
            read_origins(self.allowed_origins)
        except ValueError as error:
            raise ConfigError(f"{self.name_of('allowed_origins')} {error}") from None
        try:
            server_url(self.face_server_url)
        except DataError as error:
            raise ConfigError(f"{self.name_of('face_server_url')}: {error}") from None

    def name_of(self, setting: str) -> str:
        """Name a setting as it was given: by the environment variable, or by its own name."""
        return setting.upper() if setting in self.from_environment else setting

    def as_dict(self) -> dict[str, Any]:
        """Give the settings by name."""
        return asdict(self)


def read_settings(
    config: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> ServerSettings:
    """Take each setting from the config, else from the environment, else the default.

    In paths `~` becomes the home folder. An empty variable counts as not set, unless it is a path.

    Args:
        config: setting names to values.
        environment: that of the process, if None.

    Raises:
        ConfigError: an unknown name, or a value of the wrong type or range.
        PathError: no file can have a path.
    """
    given = dict(config or {})
    environment = os.environ if environment is None else environment
    names = [entry.name for entry in fields(ServerSettings)]
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ConfigError(f"unknown setting {shown(unknown[0])}, known are {', '.join(names)}")
    values: dict[str, Any] = {}
    from_environment = set()
    for entry in fields(ServerSettings):
        variable = entry.name.upper()
        if entry.name in given:
            values[entry.name] = _typed(entry.name, entry, given[entry.name])
        elif environment.get(variable) or ("is_path" in entry.metadata and variable in environment):
            values[entry.name] = _typed(variable, entry, environment[variable])
            from_environment.add(entry.name)
    return ServerSettings(**values, variables=frozenset(from_environment))


def _typed(name: str, entry: "Field[Any]", value: Any) -> Any:
    kind: Any = type(entry.default)
    if "is_path" in entry.metadata and isinstance(value, str | Path):
        return user_text(value, name)
    is_fit = isinstance(value, str | kind) or (kind is float and isinstance(value, int))
    try:
        if not is_fit or isinstance(value, bool):
            raise ValueError
        return kind(value)
    except ValueError:
        noun = {int: "a whole number", float: "a number", str: "text"}[kind]
        raise ConfigError(f"{name} is {shown(value)}, expected {noun}") from None


def settings_from_arguments(
    arguments: Sequence[str] | None, description: str | None
) -> ServerSettings:
    """Read the command line; what it leaves out comes from the environment.

    Raises:
        ConfigError: as `read_settings`.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Each option can also be set by the environment variable of its name, such as\n"
        "AGE_MODEL or MAX_FACES.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for entry in fields(ServerSettings):
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            metavar="X",
            default=argparse.SUPPRESS,
            help=f"{entry.metadata['help']} (default: {entry.default or 'none'})",
        )
    return read_settings(vars(parser.parse_args(arguments)))
