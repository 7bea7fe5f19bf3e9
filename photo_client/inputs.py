"""Which photos the client annotates, and what it calls what it writes."""

import glob
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faces.pictures import SUFFIXES
from photo_client.folders import ANNOTATED, in_words, is_annotated, photos_below, why_left_out
from utils.errors import UserError


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo to read, and the file to write."""

    path: Path
    annotated_path: Path


def find_photos(
    given: Sequence[str], out_dir: Path | None = None, left_out: Counter[str] | None = None
) -> list[Photo]:
    """List the photos of files, folders (with all below them) and globs, each once.

    What the client itself wrote, hidden files, and those that are no pictures by their names, are
    left out of folders and globs.

    Args:
        given: as typed.
        out_dir: where to write, with the folders below a given one; None writes beside each photo.
        left_out: gets the number of files that are left out, by why.

    Raises:
        UserError: something given is not there, or holds no photo.
    """
    left_out = Counter() if left_out is None else left_out
    photos: list[Photo] = []
    seen: set[Path] = set()
    taken: set[Path] = set()
    for text in given:
        for base, path in _photos_of(text, left_out):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            folder = path.parent if out_dir is None else out_dir / path.parent.relative_to(base)
            photos.append(Photo(path, _free_name(folder, path.stem, taken)))
    return photos


def _photos_of(text: str, left_out: Counter[str]) -> Iterator[tuple[Path, Path]]:
    """List (folder that names below are relative to, photo) of one thing that was given."""
    given, before = Path(text), left_out.copy()
    if given.is_dir():
        found = [(given, path) for path in photos_below(given, left_out)]
    elif given.is_file():
        if is_annotated(given):
            raise UserError(f"{text} is what this program wrote; give the photo itself")
        found = [(given.parent, given)]
    else:
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute patterns
        found = [(path.parent, path) for path in _photos_among(matches, left_out)]
        if not matches:
            raise UserError(f"{text}: no such file or folder, and no file fits it as a pattern")
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES))
        why = in_words(left_out - before)
        raise UserError(
            f"{text} holds no photo; expected files that end in {suffixes}" + (why and f"; {why}")
        )
    yield from found


def _photos_among(paths: Sequence[Path], left_out: Counter[str]) -> Iterator[Path]:
    """Pick the photos of what fits a pattern."""
    for path in paths:
        reason = None if path.is_dir() else why_left_out(path)
        if reason is not None:
            left_out[reason] += 1
        elif not path.is_dir():
            yield path


def _free_name(folder: Path, stem: str, taken: set[Path]) -> Path:
    """Name the file to write, with a number where a.jpg and a.png would write the same one."""
    path, number = folder / f"{stem}{ANNOTATED}.jpg", 2
    while path in taken:
        path, number = folder / f"{stem}-{number}{ANNOTATED}.jpg", number + 1
    taken.add(path)
    return path
