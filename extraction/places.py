"""Where the images of a data set lie, and where the face server's answers for them are stored."""

import posixpath
from dataclasses import dataclass
from pathlib import Path

INSIDE, OUTSIDE = "answers/inside", "answers/outside"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files of a data set lie.

    The images of the known data sets lie in its folder, and have their answers beside them. Those
    that a table of one's own names can lie anywhere, also where nothing can be written: their
    answers go into the folder of the data set.

    Attributes:
        dataset_dir: folder of the data set, which is written to.
        table_dir: folder of its table, which the paths of images are relative to; None for a known
            data set.

    >>> Places(Path("data/wiki_crop")).beside_answer("01/a.jpg")
    'data/wiki_crop/01/a.jpg'
    >>> places = Places(Path("data/mine"), Path("photos"))
    >>> places.beside_answer("01/a.jpg"), places.beside_answer("/mnt/b.jpg")
    ('data/mine/answers/inside/01/a.jpg', 'data/mine/answers/outside/mnt/b.jpg')
    """

    dataset_dir: Path
    table_dir: Path | None = None

    @property
    def image_dir(self) -> Path:
        """The folder which the paths of images are relative to."""
        return self.table_dir or self.dataset_dir

    def image(self, image_path: str) -> Path:
        """Return the file of an image."""
        return self.image_dir / image_path

    def beside_answer(self, image_path: str) -> str:
        """Return the file of an answer without its ending."""
        if self.table_dir is None:
            return f"{self.dataset_dir}/{image_path}"
        kind = OUTSIDE if image_path.startswith("/") else INSIDE
        return f"{self.dataset_dir}/{kind}/{image_path.lstrip('/')}"

    def answer_dir(self, folder: str) -> Path:
        """Return where the answers for the images of a folder lie."""
        return Path(self.beside_answer(posixpath.join(folder, "_"))).parent

    def may_hold(self, folder: str) -> bool:
        """Return whether images may lie in a folder that the labels name.

        Answers beside images would be written wherever a label file of strangers says.
        """
        is_upward = ".." in folder.split("/")
        return not is_upward and (self.table_dir is not None or not posixpath.isabs(folder))
