"""Which photos and clips are annotated, why other files are left out, and what is written where."""

import glob
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faces.pictures import HEIC_REMEDY, HEIC_SUFFIXES, SUFFIXES
from photo_client.clip_reader import INSTALL, has_opencv
from utils.errors import UserError

ANNOTATED, PEOPLE = ".ANNOTATED", ".PEOPLE"
CLIP_SUFFIXES = frozenset((".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v"))
_NUM_NAMED = 8
"""Reasons that are named, the most frequent ones; the rest is counted."""


@dataclass(frozen=True, slots=True)
class PhotoFile:
    """A photo or a clip to read, and the file to write."""

    path: Path
    annotated_path: Path

    @property
    def is_clip(self) -> bool:
        """Whether it is a clip, by its name."""
        return is_clip(self.path)

    @property
    def people_path(self) -> Path:
        """The file that lists the people of a clip."""
        stem = self.annotated_path.stem.removesuffix(ANNOTATED)
        return self.annotated_path.with_name(f"{stem}{PEOPLE}.json")


def find_photos(
    given: Sequence[str], out_dir: Path | None = None, left_out: Counter[str] | None = None
) -> list[PhotoFile]:
    """List the photos and clips of files, folders (with all below them) and globs, each once.

    What the client itself wrote, hidden files, and those that are no pictures by their names, are
    left out of folders and globs; clips too where OpenCV is not installed.

    Args:
        given: as typed.
        out_dir: where to write, with the folders below a given one; None writes beside each photo.
        left_out: gets the number of files that are left out, by why.

    Raises:
        UserError: something given is not there, or holds no photo, or is a clip without OpenCV.
    """
    left_out = Counter() if left_out is None else left_out
    photos: list[PhotoFile] = []
    seen: set[Path] = set()
    taken: set[Path] = set()
    for text in given:
        for base, path in _photos_of(text, left_out):
            if path.resolve() in seen:
                continue
            seen.add(path.resolve())
            folder = path.parent if out_dir is None else out_dir / path.parent.relative_to(base)
            photos.append(PhotoFile(path, _free_path(folder, path, taken)))
    return photos


def _photos_of(text: str, left_out: Counter[str]) -> list[tuple[Path, Path]]:
    """List (folder that names below are relative to, photo) of one thing that was given."""
    given, before = Path(text), left_out.copy()
    if given.is_dir():
        found = [(given, path) for path in photos_below(given, left_out)]
    elif given.is_file():
        if is_annotated(given):
            raise UserError(f"{text} is what this program wrote; give the photo or clip itself")
        if is_clip(given) and not has_opencv():
            raise UserError(f"{text} is a clip, which needs OpenCV: {INSTALL}")
        found = [(given.parent, given)]
    else:
        matches = [Path(name) for name in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207 - absolute patterns
        if not matches:
            raise UserError(f"{text}: no such file or folder, and no file fits it as a pattern")
        files = (path for path in matches if not path.is_dir())
        found = [(path.parent, path) for path in _photos_among(files, left_out)]
    if not found:
        suffixes = ", ".join(sorted(SUFFIXES | CLIP_SUFFIXES))
        why = in_words(left_out - before)
        raise UserError(
            f"{text} holds no photo or clip; expected files that end in {suffixes}"
            + (why and f"; {why}")
        )
    return found


def photos_below(folder: Path, left_out: Counter[str]) -> list[Path]:
    """List the photos of a folder and of all below it, linked folders too, each folder once.

    Args:
        folder: where to begin.
        left_out: gets the number of the other files by why they are none, and of the folders that
            are hidden or cannot be read.
    """
    folders = _files_by_folder(folder, left_out)
    return sorted(path for files in folders for path in _photos_among(files, left_out))


def _photos_among(files: Iterable[Path], left_out: Counter[str]) -> Iterator[Path]:
    for path in files:
        reason = why_left_out(path)
        if reason is None:
            yield path
        else:
            left_out[reason] += 1


def why_left_out(path: Path) -> str | None:
    """Return why a file of a folder is no photo to annotate; None if it is one."""
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        return "hidden"
    if suffix in HEIC_SUFFIXES:
        return f"HEIC ({HEIC_REMEDY})"
    if is_annotated(path):
        return "written by this program"
    if suffix not in SUFFIXES | CLIP_SUFFIXES:
        return f"not a picture by its name ({suffix[:12] or 'no suffix'})"
    if suffix in CLIP_SUFFIXES and not has_opencv():
        return f"clip (needs OpenCV: {INSTALL})"
    if not _holds(path.is_file):
        return "a link to nothing" if path.is_symlink() else "no regular file"
    return None


def is_annotated(path: Path) -> bool:
    """Check whether the client wrote this file.

    >>> is_annotated(Path("a/b.ANNOTATED.jpg")), is_annotated(Path("a/b.jpg"))
    (True, False)
    """
    return path.stem.endswith(ANNOTATED) or path.name.endswith(f"{PEOPLE}.json")


def is_clip(path: Path) -> bool:
    """Check whether a file is a clip, by its name.

    >>> is_clip(Path("a/b.MOV")), is_clip(Path("a/b.jpg"))
    (True, False)
    """
    return path.suffix.lower() in CLIP_SUFFIXES


def _files_by_folder(top: Path, left_out: Counter[str]) -> Iterator[list[Path]]:
    """List the files of each folder; linked ones come last, under the first of their names."""
    seen: set[str] = set()
    waiting, linked = [top], deque[Path]()
    while waiting or linked:
        folder = waiting.pop() if waiting else linked.popleft()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            left_out[f"folder that cannot be read ({error.strerror})"] += 1
            continue
        below = [path for path in entries if _holds(path.is_dir)]
        is_folder = set(below)
        yield [path for path in entries if path not in is_folder]
        for path in below:
            if path.name.startswith("."):
                left_out["hidden folder"] += 1
            else:
                (linked if path.is_symlink() else waiting).append(path)


def _holds(check: Callable[[], bool]) -> bool:
    """Check something of a path; what cannot be looked at is neither a file nor a folder."""
    try:
        return check()
    except OSError:
        return False


def in_words(left_out: Counter[str]) -> str:
    """Write how many files were left out, by why, in one line; empty for none.

    >>> in_words(Counter({"hidden": 2, "not a picture by its name (.txt)": 3}))
    'left out: 3 not a picture by its name (.txt), 2 hidden'
    """
    frequent = left_out.most_common(_NUM_NAMED)
    named = [f"{count:,} {reason}" for reason, count in frequent]
    num_others = left_out.total() - sum(count for _, count in frequent)
    if num_others:
        named.append(f"{num_others:,} of other kinds")
    return f"left out: {', '.join(named)}" if named else ""


def _free_path(folder: Path, source: Path, taken: set[Path]) -> Path:
    """Return the file to write, with a number where a.jpg and a.png would write the same one."""
    stem, end = source.stem, f"{ANNOTATED}{'.mp4' if is_clip(source) else '.jpg'}"
    path, number = folder / f"{stem}{end}", 2
    while path in taken:
        path, number = folder / f"{stem}-{number}{end}", number + 1
    taken.add(path)
    return path
