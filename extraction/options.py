"""What a user may choose about an extraction and a cleaning."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from extraction.cleaning_rules import DET_SCORE
from faces.client import DEFAULT_TIMEOUT_S
from faces.squares import DEFAULT_RESIZE, JPEG_QUALITY
from utils.problems import JsonObject
from utils.runtime import available_cores

MAX_SECONDS = 86_400
BoundedSeconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]


class ExtractionOptions(JsonObject):
    """How to extract; waits and limits of time are in seconds.

    Attributes:
        docker_port: a port of this machine or a URL of a face server, or several of them.
        cuda: start the container that runs on GPUs.
        resize: side in pixels of the square that is sent; None or 0 sends the files as they are.
        data_dir: folder that holds the data sets.
        docker_image: name of the image to start; None takes a known one, see `server_image`.
        in_flight: requests at once, to all servers together.
        workers: threads that decode; None takes one for each processor.
        jpeg_quality: of the pictures that are resized, 1 to 95.
        timeout_s: how long an answer may take.
        give_up_s: how long every server may be away before the extraction stops.
        start_timeout_s: how long the container may take to start.
        stop_s: how long the answers in flight are waited for after a stop.
        retry_waits_s: before each new try of a request that failed.
        probe_waits_s: before each look at a server that is away; the last one repeats.
        start_poll_s: between two looks at a container that starts.
    """

    docker_port: Any = 10002
    cuda: bool = False
    resize: int | None = Field(default=DEFAULT_RESIZE, ge=0, le=4096)
    data_dir: Path | str = "data"
    docker_image: str | None = None
    in_flight: int = Field(default=16, ge=1, le=1024)
    workers: int | None = Field(default=None, ge=1, le=256)
    jpeg_quality: int = Field(default=JPEG_QUALITY, ge=1, le=95)
    timeout_s: BoundedSeconds = DEFAULT_TIMEOUT_S
    give_up_s: BoundedSeconds = 60.0
    start_timeout_s: BoundedSeconds = 300.0
    stop_s: BoundedSeconds = 3.0
    retry_waits_s: tuple[BoundedSeconds, ...] = (0.2, 0.8, 3.0)
    probe_waits_s: tuple[BoundedSeconds, ...] = Field(
        default=(0.0, 0.2, 0.5, 1.0, 2.0, 5.0), min_length=1
    )
    start_poll_s: BoundedSeconds = 0.5

    @field_validator("docker_image")
    @classmethod
    def _check_image_name(cls, name: str | None) -> str | None:
        if name is not None and (not name or name.startswith("-")):
            raise ValueError(f"{name!r}, expected the name of an image")
        return name

    @property
    def num_workers(self) -> int:
        """Threads that decode."""
        return self.workers or available_cores()


class CleaningOptions(JsonObject):
    """How to clean.

    Attributes:
        resize: side of the square that was sent to the face server, in pixels; None or 0 when the
            images were sent as they are.
        det_score: lowest score of the detector that is good enough.
        data_dir: folder that holds `Adience`, `imdb_crop` and `wiki_crop`.
        remove_corrupt: delete the stored answers that are corrupt, so that the next extraction
            asks for them again.
    """

    resize: int | None = Field(default=DEFAULT_RESIZE, ge=0)
    det_score: float = Field(default=DET_SCORE, ge=0, le=1)
    data_dir: Path | str = "data"
    remove_corrupt: bool = False


class TableOptions(JsonObject):
    """What a user may choose about a table of one's own.

    Attributes:
        name: of the data set, and its folder in `data_dir`; None for the name of the table's file.
        genders: 'm' or 'f' for each gender that is no word, such as {0: 'm', 1: 'f'}.
    """

    name: str | None = None
    genders: dict[int | str, Literal["m", "f"]] = Field(default_factory=dict)
