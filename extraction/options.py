"""What a user may choose about an extraction and a cleaning, checked whole."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from extraction.cleaning_rules import DET_SCORE
from extraction.container import START_TIMEOUT_S, ContainerOptions
from extraction.pipeline import Settings
from extraction.pool import Waits
from faces.client import DEFAULT_TIMEOUT_S
from faces.squares import DEFAULT_RESIZE, JPEG_QUALITY
from utils.errors import DataError

DEFAULT_PORT = 10002
MAX_RESIZE = 4096
MAX_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Options:
    """How to extract.

    Attributes:
        docker_port: a port of this machine or a URL of a face server, or several of them.
        settings: how images are sent.
        container: what to start when no server answers.
        data_dir: folder that holds the data sets.
    """

    docker_port: int | str | Sequence[int | str] = DEFAULT_PORT
    settings: Settings = field(default_factory=Settings)
    container: ContainerOptions = field(default_factory=ContainerOptions)
    data_dir: Path | str = "data"


def extraction_options(
    docker_port: int | str | Sequence[int | str] = DEFAULT_PORT,
    cuda: bool = False,
    resize: int | None = DEFAULT_RESIZE,
    data_dir: Path | str = "data",
    **more: Any,
) -> Options:
    """Make the options of an extraction.

    Args:
        docker_port: a port of this machine or a URL of a face server, or several of them.
        cuda: start the container that runs on GPUs.
        resize: side in pixels of the square that is sent; None or 0 sends the files as they are.
        data_dir: folder that holds the data sets.
        more: see `Finer`.

    Raises:
        DataError: a name is unknown or a value is out of range.
    """
    finer = _finer(more)
    _check_number("resize", resize or 0, 0, MAX_RESIZE)
    settings = Settings(
        resize=resize or None,
        jpeg_quality=finer.jpeg_quality,
        in_flight=finer.in_flight,
        workers=finer.workers,
        timeout_s=finer.timeout_s,
        waits=Waits(give_up_s=finer.give_up_s),
    )
    container = ContainerOptions(cuda, finer.docker_image, finer.start_timeout_s)
    return Options(docker_port, settings, container, data_dir)


@dataclass(frozen=True, slots=True)
class Finer:
    """What is seldom chosen.

    Attributes:
        docker_image: name of the image to start; None takes the known one.
        in_flight: requests at once, to all servers together.
        workers: threads that decode; None takes one for each processor.
        jpeg_quality: of the pictures that are resized, 1 to 95.
        timeout_s: seconds that an answer may take.
        give_up_s: seconds that every server may be away before the extraction stops.
        start_timeout_s: seconds that the container may take to start.
    """

    docker_image: str | None = None
    in_flight: int = 16
    workers: int | None = None
    jpeg_quality: int = JPEG_QUALITY
    timeout_s: float = DEFAULT_TIMEOUT_S
    give_up_s: float = Waits().give_up_s
    start_timeout_s: float = START_TIMEOUT_S

    def __post_init__(self) -> None:
        _check_number("in_flight", self.in_flight, 1, 1024)
        _check_number("workers", 1 if self.workers is None else self.workers, 1, 256)
        _check_number("jpeg_quality", self.jpeg_quality, 1, 95)
        for name in ("timeout_s", "give_up_s", "start_timeout_s"):
            _check_number(name, getattr(self, name), 0, MAX_SECONDS, int | float)
        if self.docker_image is not None and not _is_image_name(self.docker_image):
            raise DataError(f"docker_image is {self.docker_image!r}, expected the name of an image")


def _finer(more: dict[str, Any]) -> Finer:
    known = list(inspect.signature(Finer).parameters)
    unknown = sorted(set(more) - set(known))
    if unknown:
        raise DataError(f"unknown option {', '.join(unknown)}; there are {', '.join(known)}")
    return Finer(**more)


def _is_image_name(name: object) -> bool:
    return isinstance(name, str) and bool(name) and not name.startswith("-")


def _check_number(name: str, value: object, least: int, most: int, kind: Any = int) -> None:
    if not isinstance(value, kind) or isinstance(value, bool) or not least <= value <= most:
        raise DataError(f"{name} is {value!r}, expected a number from {least} to {most}")


@dataclass(frozen=True, slots=True)
class CleaningOptions:
    """How to clean.

    Attributes:
        resize: side of the square that was sent to the face server, in pixels; None or 0 when the
            images were sent as they are.
        det_score: lowest score of the detector that is good enough, 0 to 1.
        data_dir: folder that holds `Adience`, `imdb_crop` and `wiki_crop`.
        remove_corrupt: delete the stored answers that are corrupt, so that the next extraction
            asks for them again.

    Raises:
        DataError: a value is out of range or of the wrong kind; the message names all.
    """

    resize: int | None = DEFAULT_RESIZE
    det_score: float = DET_SCORE
    data_dir: Path | str = "data"
    remove_corrupt: bool = False

    def __post_init__(self) -> None:
        problems = []
        if self.resize is not None and (type(self.resize) is not int or self.resize < 0):
            problems.append(f"resize is {self.resize!r}, expected pixels such as 640, 0 or None")
        is_number = isinstance(self.det_score, int | float) and type(self.det_score) is not bool
        if not is_number or not 0 <= self.det_score <= 1:
            problems.append(f"det_score is {self.det_score!r}, expected a number from 0 to 1")
        if problems:
            raise DataError("; ".join(problems))
