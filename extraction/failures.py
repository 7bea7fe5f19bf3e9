"""The images that cleaning could not judge: told, listed, and made ready for another extraction."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from extraction.cleaned_files import writing
from extraction.embeddings import UnusableError
from utils.files import atomic_write
from utils.log import get_logger

MAX_NAMED = 5
"""Files that are named on the screen; all are in the list."""

_logger = get_logger("cleaning")


@dataclass(slots=True)
class Failures:
    """The images that count as failed.

    Attributes:
        num_missing: images without a file of embeddings.
        unusable: the files that could not be used, with the reason.
    """

    num_missing: int = 0
    unusable: list[UnusableError] = field(default_factory=list)

    def report(self, list_path: Path, remove_corrupt: bool) -> None:
        """Tell what failed and write the list of the unusable files; without any there is no list.

        Args:
            list_path: the list, as CSV with the columns path and reason.
            remove_corrupt: delete the corrupt files, so that the next extraction makes them.

        Raises:
            DataError: the list cannot be written, or a file not be deleted.
        """
        with writing(list_path):
            if self.unusable:
                _write_list(self.unusable, list_path)
            else:
                list_path.unlink(missing_ok=True)
        if self.num_missing:
            _logger.info(
                f"{self.num_missing:,} images have no file of embeddings, not counting those "
                "without an age or a gender: they are missing, or sending them failed, or the "
                "extraction is not done; extract again to try them"
            )
        for error in self.unusable[:MAX_NAMED]:
            _logger.warning(f"{error.path} {error}")
        if self.unusable:
            _logger.warning(f"{list_path} lists {len(self.unusable):,} files that are of no use")
        corrupt = [error.path for error in self.unusable if error.is_corrupt]
        if corrupt and remove_corrupt:
            _remove(corrupt)
        elif corrupt:
            _logger.warning("remove_corrupt=True deletes the corrupt ones; then extract again")


def _write_list(unusable: list[UnusableError], list_path: Path) -> None:
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("path", "reason"))
    lines.writerows((error.path.as_posix(), error) for error in unusable)
    with atomic_write(list_path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))


def _remove(corrupt: list[Path]) -> None:
    for path in corrupt:
        with writing(path):
            path.unlink(missing_ok=True)
    _logger.warning(f"{len(corrupt):,} corrupt files were deleted; extract again, then clean")
