"""What the server can be told: by option, by environment variable, or by `create_app(config)`.

Every setting has one name: `max_faces` is the option --max-faces, the variable MAX_FACES, and the
key "max_faces".
"""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from faces.photo import MAX_SEND_SIDE
from serving.responses import read_origins
from utils.addresses import server_url
from utils.errors import ConfigError
from utils.paths import path_problem, user_text
from utils.problems import JsonObject, Problem, problems_of, refusal

MODELS = ("age_model", "gender_model")


def _path(value: Any) -> str:
    if problem := path_problem(value):
        raise ValueError(problem)
    return user_text(value, "")


def _checked_by(check: Callable[[str], object]) -> AfterValidator:
    def keep(text: str) -> str:
        check(text)
        return text

    return AfterValidator(keep)


ModelPath = Annotated[str, BeforeValidator(_path)]
Address = Annotated[str, _checked_by(server_url)]
Origins = Annotated[str, _checked_by(read_origins)]
Limit = Annotated[int, Field(ge=1, le=2**40)]
NumThreads = Annotated[int, Field(ge=1, le=4096)]
Seconds = Annotated[float, Field(ge=0.1, le=86_400)]


class ServerSettings(JsonObject):
    """How the server runs; numbers may be written as text."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    age_model: ModelPath = "models/age.pth"
    """file of the age model"""
    gender_model: ModelPath = "models/gender.pth"
    """file of the gender model"""
    face_server_url: Address = "http://127.0.0.1:10002/"
    """face server behind POST /image"""
    face_pack: str = ""
    """model pack, a name or a folder, that finds faces in this program, with no face server"""
    host: str = "127.0.0.1"
    """address to listen on; 0.0.0.0 for all"""
    port: Annotated[int, Field(ge=0, le=65535)] = 10003
    """port to listen on; 0 takes a free one"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto, cpu, cuda: where the networks run"""
    mc_precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto, float32, bfloat16: of passes with dropout; auto is bfloat16 where it is fast"""
    threads: Annotated[int, Field(ge=0, le=4096)] = 0
    """threads of the models; 0: all cores, or OMP_NUM_THREADS; with a face pack, those left"""
    max_body_bytes: Limit = 16 * 2**20
    """largest body of a request, in bytes"""
    max_faces: Limit = 8192
    """most faces in a request"""
    max_mc_samples: Limit = 1024
    """most passes with dropout"""
    max_mc_passes: Limit = 2**18
    """most faces x passes in a request"""
    max_queue: NumThreads = 32
    """most requests worked on at once; one more is told to wait"""
    max_images: NumThreads = 4
    """most pictures worked on at once"""
    max_connections: Limit = 128
    """most connections open at once"""
    request_timeout_s: Seconds = 30.0
    """seconds that a request may take to arrive"""
    face_timeout_s: Seconds = 20.0
    """seconds that the face server may take"""
    allowed_origins: Origins = ""
    """origins whose pages may ask, such as https://faces.example, separated by commas"""
    metrics: Literal["on", "off"] = "on"
    """on, off: whether GET /metrics answers, for Prometheus"""
    image_size: Annotated[int, Field(ge=16, le=MAX_SEND_SIDE)] = 640
    """side in pixels of the square that faces are looked for in"""

    _from_environment: frozenset[str] = PrivateAttr(frozenset())

    @property
    def from_environment(self) -> frozenset[str]:
        """Which settings environment variables gave."""
        return self._from_environment

    @field_validator("*", mode="before")
    @classmethod
    def _read_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """Read what is written as text; what is no such number stays text, and is refused."""
        kind = cls.model_fields[str(info.field_name)].annotation
        with suppress(ValueError):
            return kind(value) if isinstance(value, str) and kind in (int, float) else value
        return value


def read_settings(
    config: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    call: Callable[[str], str] = str,
) -> ServerSettings:
    """Take each setting from the config, else from the environment, else the default.

    In paths `~` becomes the home folder. An empty variable counts as not set, unless it is a path.

    Args:
        config: setting names to values.
        environment: that of the process, if None.
        call: returns what the user calls a setting of the config, for errors.

    Raises:
        ConfigError: unknown names, or values of the wrong type or range, all of them at once; or
            two settings that exclude each other.
    """
    given = dict(config or {})
    environment = os.environ if environment is None else environment
    variables = {
        name: environment[name.upper()]
        for name in ServerSettings.model_fields
        if name not in given
        and (environment.get(name.upper()) or (name in MODELS and name.upper() in environment))
    }
    values = {**variables, **given}

    def called(name: str) -> str:
        return name.upper() if name in variables else call(name)

    try:
        settings = ServerSettings.model_validate(values)
    except ValidationError as error:
        problems = [
            Problem(called(name), text) for name, text in problems_of(error, ServerSettings, values)
        ]
        raise refusal("settings of the server", problems) from None
    if settings.face_pack and "face_server_url" in values:
        raise _refusal_of_both(called("face_pack"), called("face_server_url"))
    settings._from_environment = frozenset(variables)
    return settings


def _refusal_of_both(face_pack: str, face_server_url: str) -> ConfigError:
    return ConfigError(
        f"{face_pack} and {face_server_url} are both given: faces are found in this program, or by "
        "a face server; leave one of them out"
    )


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
    for name, setting in ServerSettings.model_fields.items():
        default = "none" if setting.default == "" else setting.default
        text = f"{setting.description} (default: {default})"
        parser.add_argument(_option(name), metavar="X", default=argparse.SUPPRESS, help=text)
    return read_settings(vars(parser.parse_args(arguments)), call=_option)


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
