"""Which photos the client annotates, and what it calls what it writes."""

import glob
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.errors import UserError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"),
    *(".jp2", ".ppm", ".pgm"),
)
ANNOTATED = ".ANNOTATED"


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo to read, and the file to write."""

    path: Path
    annotated_path: Path


def find_photos(given: Sequence[str], out_dir: Path | None = None) -> list[Photo]:
    """List the photos of files, folders (with all below them) and globs, each once.

    What the client itself wrote, and hidden files, are left out of folders and globs.

    Args:
        given: as typed.
        out_dir: where to write, with the folders below a given one; None writes beside each photo.

    Raises:
        UserError: something given is not there, or holds no photo.
    """
    photos: list[Photo] = []
    seen: set[Path] = set()
    taken: set[Path] = set()
    for text in given:
        for base, path in _photos_of(text):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            folder = path.parent if out_dir is None else out_dir / path.parent.relative_to(base)
            photos.append(Photo(path, _free_name(folder, path.stem, taken)))
    return photos


def _photos_of(text: str) -> Iterator[tuple[Path, Path]]:
    """Give (folder that names below are relative to, photo) of one thing that was given."""
    given = Path(text)
    if given.is_dir():
        found = [(given, path) for path in sorted(given.rglob("*")) if _is_photo(path, given)]
    elif given.is_file():
        if is_annotated(given):
            raise UserError(f"{text} is what this program wrote; give the photo itself")
        found = [(given.parent, given)]
    else:
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute patterns
        found = [(path.parent, path) for path in matches if _is_photo(path, path.parent)]
        if not matches:
            raise UserError(f"{text}: no such file or folder, and no file fits it as a pattern")
    if not found:
        raise UserError(f"{text} holds no photo; expected files that end in {', '.join(SUFFIXES)}")
    yield from found


def is_annotated(path: Path) -> bool:
    """Tell whether the client wrote this file.

    >>> is_annotated(Path("a/b.ANNOTATED.jpg")), is_annotated(Path("a/b.jpg"))
    (True, False)
    """
    return path.stem.endswith(ANNOTATED)


def _is_photo(path: Path, base: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in path.relative_to(base).parts)
    is_picture = path.suffix.lower() in SUFFIXES and path.is_file()
    return is_picture and not is_hidden and not is_annotated(path)


def _free_name(folder: Path, stem: str, taken: set[Path]) -> Path:
    """Name the file to write, with a number where a.jpg and a.png would write the same one."""
    path, number = folder / f"{stem}{ANNOTATED}.jpg", 2
    while path in taken:
        path, number = folder / f"{stem}-{number}{ANNOTATED}.jpg", number + 1
    taken.add(path)
    return path
