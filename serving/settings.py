"""What the server can be told: by option, by environment variable, or by `create_app(config)`.

Every setting has one name: `max_faces` is the option --max-faces, the variable MAX_FACES, and the
key "max_faces".
"""

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from utils.errors import ConfigError, DataError
from utils.face_address import server_url

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


def _setting(default: Any, text: str, least: float | None = None) -> Any:
    return field(default=default, metadata={"help": text, "least": least})


@dataclass(frozen=True)
class Settings:
    """How the server runs; see the help texts.

    Raises:
        ConfigError: a value is out of its range.
    """

    age_model: str = _setting("models/age.pth", "file of the age model")
    gender_model: str = _setting("models/gender.pth", "file of the gender model")
    face_server_url: str = _setting("http://127.0.0.1:10002/", "face server behind POST /image")
    host: str = _setting("127.0.0.1", "address to listen on; 0.0.0.0 for all")
    port: int = _setting(10003, "port to listen on; 0 takes a free one", 0)
    device: str = _setting("auto", f"{', '.join(DEVICES)}: where the networks run")
    mc_precision: str = _setting(
        "auto",
        f"{', '.join(PRECISIONS)}: of passes with dropout; auto is bfloat16 where it is fast",
    )
    threads: int = _setting(0, "processor threads of the networks; 0 takes all there are", 0)
    max_body_bytes: int = _setting(16 * 2**20, "largest body of a request, in bytes", 1)
    max_faces: int = _setting(8192, "most faces in a request", 1)
    max_mc_samples: int = _setting(1024, "most passes with dropout", 1)
    max_mc_passes: int = _setting(2**18, "most faces x passes in a request", 1)
    max_queue: int = _setting(32, "most requests worked on at once; one more is told to wait", 1)
    max_images: int = _setting(4, "most pictures worked on at once", 1)
    max_connections: int = _setting(128, "most connections open at once", 1)
    request_timeout_s: float = _setting(30.0, "seconds that a request may take to arrive", 0.1)
    face_timeout_s: float = _setting(20.0, "seconds that the face server may take", 0.1)
    image_size: int = _setting(640, "side in pixels of the square sent to the face server", 16)

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, least = getattr(self, entry.name), entry.metadata["least"]
            if least is not None and not least <= value < math.inf:
                raise ConfigError(f"{entry.name} is {value}, expected {least} or more")
        for name, known in (("device", DEVICES), ("mc_precision", PRECISIONS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(known)}"
                )
        if self.port > 65535:
            raise ConfigError(f"port is {self.port}, expected 65535 or less")
        try:
            server_url(self.face_server_url)
        except DataError as error:
            raise ConfigError(f"face_server_url: {error}") from None

    def as_dict(self) -> dict[str, Any]:
        """Give the settings by name."""
        return asdict(self)


def read_settings(
    config: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Take each setting from the config, else from the environment, else the default.

    Args:
        config: setting names to values.
        environment: that of the process, if None.

    Raises:
        ConfigError: an unknown name, or a value of the wrong type or range.
    """
    given = dict(config or {})
    environment = os.environ if environment is None else environment
    names = [entry.name for entry in fields(Settings)]
    unknown = sorted(given.keys() - set(names))
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}, known are {', '.join(names)}")
    values: dict[str, Any] = {}
    for entry in fields(Settings):
        if entry.name in given:
            values[entry.name] = _typed(entry.name, type(entry.default), given[entry.name])
        elif environment.get(entry.name.upper()):
            text = environment[entry.name.upper()]
            values[entry.name] = _typed(entry.name.upper(), type(entry.default), text)
    return Settings(**values)


def _typed(name: str, kind: type, value: Any) -> Any:
    if kind is str and isinstance(value, Path):
        return str(value)
    is_fit = isinstance(value, str | kind) or (kind is float and isinstance(value, int))
    try:
        if not is_fit or isinstance(value, bool):
            raise ValueError
        return kind(value)
    except ValueError:
        noun = {int: "a whole number", float: "a number", str: "text"}[kind]
        raise ConfigError(f"{name} is {value!r}, expected {noun}") from None


def settings_from_arguments(arguments: Sequence[str] | None, description: str | None) -> Settings:
    """Read the command line; what it leaves out comes from the environment.

    Raises:
        ConfigError: as `read_settings`.
    """
    parser = argparse.ArgumentParser(
        description=description,
        epilog="Each option can also be set by the environment variable of its name, such as "
        "AGE_MODEL or MAX_FACES.",
    )
    for entry in fields(Settings):
        parser.add_argument(
            f"--{entry.name.replace('_', '-')}",
            metavar="X",
            default=argparse.SUPPRESS,
            help=f"{entry.metadata['help']} (default: {entry.default})",
        )
    return read_settings(vars(parser.parse_args(arguments)))
