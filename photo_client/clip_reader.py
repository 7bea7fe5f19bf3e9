"""The frames of a clip, one at a time, decoded by FFmpeg within OpenCV, which is optional.

Clips are files of strangers. Only local files are opened, only as the containers of `_FORMATS`,
and none of their content can name another file or an address (playlists are no such container).
Frames, pixels and seconds are bounded.
"""

import os
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from photo_client.errors import PhotoError
from utils.optional_packages import FACES_REQUIREMENTS
from utils.text import in_one_line

if TYPE_CHECKING:
    from cv2 import VideoCapture

INSTALL: Final = f"pip install -r {FACES_REQUIREMENTS}"
NOT_A_CLIP: Final = "not a clip that can be read"
MAX_FRAMES_PER_S: Final = 240
DEFAULT_SECONDS: Final = 3600.0
DEFAULT_PIXELS: Final = 40_000_000
FALLBACK_FPS: Final = 25.0
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
_OPTIONS = f"protocol_whitelist;file|format_whitelist;{_FORMATS}"
_QUIET = "-8"

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ClipLimits:
    """The largest clips to read.

    Attributes:
        seconds: what comes later is left out.
        pixels: of a frame.
    """

    seconds: float = DEFAULT_SECONDS
    pixels: int = DEFAULT_PIXELS


class ClipReader:
    """A clip that is open.

    Attributes:
        size: width and height of a frame in pixels, upright.
        announced_s: how long it says it is; None if it does not say.
        end_s: time of the last frame that was read.
        num_frames: that were read.
        is_cut: there is more than the limits allow.
    """

    def __init__(self, capture: "VideoCapture", path: Path, limits: ClipLimits) -> None:
        import cv2

        self._cv2, self._capture, self._limits = cv2, capture, limits
        width, height = (
            int(capture.get(what)) for what in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if min(width, height) < 2:
            raise PhotoError(NOT_A_CLIP, f"{path} has no frames")
        if width * height > limits.pixels:
            most = f"expected at most {limits.pixels:,} pixels (--max-pixels)"
            raise PhotoError("clip too large", f"frames of {width} x {height}, {most}")
        self.size = width, height
        self._fps = _number(capture.get(cv2.CAP_PROP_FPS))
        count = _number(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.announced_s = count / self._fps if count and self._fps else None
        self.num_frames, self.end_s, self.is_cut = 0, 0.0, False
        self._steps_s = array("f")

    def times(self) -> Iterator[float]:
        """Go to each frame, and yield its time in seconds, which grows; the first frame is at 0.

        Where the file tells no time, or an earlier one, its frame rate counts.
        """
        max_frames = self._limits.seconds * MAX_FRAMES_PER_S
        before_s = 0.0
        while self._capture.grab():
            said_s = self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000
            step_s = said_s - before_s if said_s > before_s else 1 / self.fps
            time_s = self.end_s + step_s if self.num_frames else 0.0
            if time_s > self._limits.seconds or self.num_frames >= max_frames:
                self.is_cut = True
                return
            if self.num_frames:
                self._steps_s.append(step_s)
            before_s, self.end_s, self.num_frames = said_s, time_s, self.num_frames + 1
            yield time_s

    @property
    def fps(self) -> float:
        """Frames per second that the file names, if it is a sane number, else 25."""
        return self._fps if 1 <= self._fps <= MAX_FRAMES_PER_S else FALLBACK_FPS

    @property
    def written_fps(self) -> float:
        """Frames per second with which a copy shows all frames, or nearly all.

        It is the rate that the file names, or, where that is another, that of the tenth of frames
        that are shown for the shortest time.
        """
        if not self._steps_s:
            return self.fps
        shown = 1 / float(np.quantile(self._steps_s, 0.1))
        is_as_named = abs(shown / self.fps - 1) < 0.02
        return self.fps if is_as_named else min(max(shown, 1.0), MAX_FRAMES_PER_S)

    @property
    def duration_s(self) -> float:
        """Seconds that were read, with the last frame."""
        last_s = self._steps_s[-1] if self._steps_s else 1 / self.fps
        return self.end_s + last_s if self.num_frames else 0.0

    def picture(self) -> Image.Image | None:
        """Decode the frame of the time that was yielded last: RGB, upright; None if damaged."""
        decoded, frame = self._capture.retrieve()
        if not decoded or frame is None or frame.ndim != 3:
            return None
        if frame.shape[1::-1] != self.size:  # the stream changes its size
            frame = self._cv2.resize(frame, self.size)
        return Image.fromarray(self._cv2.cvtColor(frame, self._cv2.COLOR_BGR2RGB))

    def missing_words(self) -> str:
        """Return how much was read of a clip that announced more; "" if all was."""
        if self.is_cut:
            return f"only the first {self._limits.seconds:g} s were read (--max-seconds)"
        if self.announced_s is None or self.duration_s >= 0.95 * self.announced_s - 0.2:
            return ""
        of = f"{self.duration_s:.1f} of {self.announced_s:.1f} s"
        return f"cut off or damaged: {of} could be read"


@contextmanager
def opened_clip(path: Path, limits: ClipLimits) -> Iterator[ClipReader]:
    """Open a clip for the block; whatever the decoder raises in it fails this clip alone.

    Raises:
        PhotoError: it is no clip, of an unknown codec, or larger than the limits.
    """
    cv2 = load_opencv()
    try:
        if not path.is_file():
            raise PhotoError("no such file")
        if path.stat().st_size == 0:
            raise PhotoError("empty file")
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    except (OSError, ValueError, cv2.error) as error:
        raise PhotoError("cannot be read", in_one_line(error)) from None
    try:
        if not capture.isOpened():
            raise PhotoError(
                NOT_A_CLIP, "it is no video, is damaged, or has a codec that is not known here"
            )
        yield ClipReader(capture, path, limits)
    except cv2.error as error:
        raise PhotoError("cannot be decoded", in_one_line(error)) from None
    finally:
        capture.release()


def has_opencv() -> bool:
    """Check whether clips can be read here."""
    return find_spec("cv2") is not None


def load_opencv() -> ModuleType:
    """Import OpenCV, made silent and kept from anything but local files of known containers.

    Raises:
        PhotoError: it is not installed.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _OPTIONS
    try:
        import cv2
    except ImportError:
        raise PhotoError("clips need OpenCV", INSTALL) from None
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def _number(value: float) -> float:
    """Return a finite positive number, or 0."""
    return value if 0 < value < 1e9 else 0.0
