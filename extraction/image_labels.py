"""What the label files of a data set say about one image, in the same form for every data set."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass

from utils.errors import DataError
from utils.labels import NO_FOLD

Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the image, upright."""

MAX_PATH_LENGTH, MAX_NAME_LENGTH = 1024, 255
"""Letters in a path, and in a part of it or the name of a person; all rows are as wide as one."""


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """The labels of one image; None where the label files do not tell.

    Attributes:
        image_path: relative to the folder of the data set, with forward slashes; of a table of
            one's own to the folder of the table, or absolute.
        subject: who it shows; may be empty.
        age: in years.
        gender: 'm' or 'f'.
        fold: 0 to 4 in Adience, what the table says elsewhere, else `NO_FOLD`.
        box: of the face that the labels are of; None where the image shows one face.
        kept: the cells of the table's other columns.
    """

    image_path: str
    subject: str
    age: float | None
    gender: str | None
    fold: int = NO_FOLD
    box: Box | None = None
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabelColumns:
    """Which labels the images of a data set need, and which columns they have besides.

    Attributes:
        one_suffices: an image without an age or without a gender stays, as in a table of one's own;
            else it is removed.
        kept: names of the columns of a table that are no labels, as in `ImageLabels.kept`.
    """

    one_suffices: bool = False
    kept: tuple[str, ...] = ()

    def suffice(self, image: ImageLabels) -> bool:
        """Return whether an image has the labels that it needs.

        >>> image = ImageLabels("a.jpg", "", 30, None)
        >>> LabelColumns().suffice(image), LabelColumns(one_suffices=True).suffice(image)
        (False, True)
        """
        are_known = (image.age is not None, image.gender is not None)
        return any(are_known) if self.one_suffices else all(are_known)


ALL_LABELS = LabelColumns()
"""Of the known data sets."""


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
