"""What the label files of a data set say about one image, in the same form for every data set."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from utils.errors import DataError
from utils.labels import NO_FOLD

MAX_PATH_LENGTH, MAX_NAME_LENGTH = 1024, 255
"""Letters in a path, and in a part of it or the name of a person; all rows are as wide as one."""


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of one image; None where the label files do not tell.

    Attributes:
        image_path: relative to the folder of the data set, with forward slashes.
        subject: who it shows; may be empty.
        age: in years.
        gender: 'm' or 'f'.
        fold: 0 to 4 in Adience, `NO_FOLD` elsewhere.
    """

    image_path: str
    subject: str
    age: float | None
    gender: str | None
    fold: int = NO_FOLD


def unique_images(labels: Iterable[ImageLabels]) -> list[ImageLabels]:
    """Keep the first labels of every path; images without a path are all kept."""
    unique: dict[object, ImageLabels] = {}
    for number, image in enumerate(labels):
        unique.setdefault(image.image_path or number, image)
    return list(unique.values())


def checked_path(image_path: str, where: str) -> str:
    """Return the path of an image that a label file names, in its shortest spelling.

    Raises:
        DataError: it leads out of the folder of the data set, or is too long for a file; the
            message begins with `where`.

    >>> checked_path("./01//a.jpg", "wiki.mat"), checked_path("", "wiki.mat")
    ('01/a.jpg', '')
    """
    if "\0" in image_path or image_path.startswith("/") or ".." in image_path.split("/"):
        raise DataError(
            f"{where}: the image path {image_path!r:.200} leads out of the folder of the data set"
        )
    path = posixpath.normpath(image_path) if image_path else ""
    if len(path) > MAX_PATH_LENGTH or max(map(len, path.split("/"))) > MAX_NAME_LENGTH:
        raise DataError(
            f"{where}: the image path {path!r:.60}... is too long, expected at most "
            f"{MAX_PATH_LENGTH} letters, and {MAX_NAME_LENGTH} between slashes"
        )
    return path
