"""Writes an annotated clip, whole or not at all, with OpenCV's encoders; without sound."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from photo_client.clip_reader import Pixels, load_opencv
from photo_client.errors import PhotoError
from utils.files import atomic_write

if TYPE_CHECKING:
    from cv2 import VideoWriter

CODECS: Final = {"auto": ("avc1", "mp4v"), "avc1": ("avc1",), "mp4v": ("mp4v",), "vp9": ("vp09",)}
"""Codecs by the names of --codec, the preferred one first.

H.264 (avc1) plays everywhere; OpenCV's wheels for Linux have no encoder for it. MPEG-4 (mp4v) is in
all of them and fast, and plays in players, not in browsers; VP9 plays in browsers, and takes 20
times as long to write.
"""


class ClipWriter:
    """A clip that is being written, frame by frame, at a constant rate."""

    def __init__(self, writer: "VideoWriter", cv2: ModuleType, fps: float) -> None:
        self._writer, self._cv2 = writer, cv2
        self.fps = fps
        self.num_frames = 0

    def write(self, picture: Image.Image) -> None:
        """Add a frame, RGB, of the size of the clip."""
        pixels: Pixels = np.asarray(picture)
        self._writer.write(self._cv2.cvtColor(pixels, self._cv2.COLOR_RGB2BGR))
        self.num_frames += 1


@contextmanager
def written_clip(
    path: Path, size: tuple[int, int], fps: float, codec: str = "auto"
) -> Iterator[ClipWriter]:
    """Open a clip that takes the place of `path` when the block ends well.

    Args:
        path: of the clip, .mp4.
        size: width and height of the frames, even numbers of pixels.
        fps: frames per second, rounded to hundredths.
        codec: a key of `CODECS`.

    Raises:
        PhotoError: nothing can be encoded here, or not all was written.
        OSError: the file cannot be written.
    """
    cv2 = load_opencv()
    with atomic_write(path) as file, TemporaryDirectory() as folder:
        link = Path(folder, "clip.mp4")  # the encoder asks for a name that tells the container
        link.symlink_to(Path(file.name).resolve())
        writer = _opened(cv2, link, size, round(fps, 2), codec)
        clip = ClipWriter(writer, cv2, round(fps, 2))
        try:
            yield clip
        finally:
            writer.release()
        if _num_frames(cv2, link) != clip.num_frames:  # OpenCV hides that a disk is full
            raise PhotoError("cannot be written", f"{path}, not all of it; is the disk full?")


def _opened(
    cv2: ModuleType, path: Path, size: tuple[int, int], fps: float, codec: str
) -> "VideoWriter":
    for name in CODECS[codec]:
        fourcc = cv2.VideoWriter.fourcc(*name)
        writer: VideoWriter = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size)
        if writer.isOpened():
            return writer
        writer.release()
    others = ", ".join(other for other in CODECS if other != codec)
    problem = f"this OpenCV has no encoder for --codec {codec}; take another of {others}"
    raise PhotoError("cannot be encoded", problem)


def _num_frames(cv2: ModuleType, path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()
