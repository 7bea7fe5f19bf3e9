"""What the client prints: a table, or JSON."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from photo_client.answers import Health
from photo_client.face import SeenFace, max_uncertainty, percent
from photo_client.photos import PhotoFile
from serving.network_check import mismatch
from utils.text import in_columns

COLUMNS = ("photo", "face", "age", "gender", "unsure of age", "of gender", "box")
NOTHING = "-"


@dataclass(slots=True)
class PhotoResult:
    """What became of a photo: its faces, or why it failed; `reason` is why in few words."""

    photo: PhotoFile
    size: tuple[int, int] = (0, 0)
    guesses: list[SeenFace] = field(default_factory=list)
    face_model: str | None = None
    error: str | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints of a photo."""
        image_path = str(self.photo.path)
        if self.error is not None:
            return {"image_path": image_path, "error": self.error}
        return {
            "image_path": image_path,
            "annotated_path": str(self.photo.annotated_path),
            "width": self.size[0],
            "height": self.size[1],
            "faces": [guess.as_json() for guess in self.guesses],
            "model": self.face_model,
        }


def report(results: Sequence[PhotoResult], health: Health, as_json: bool) -> None:
    """Print a table, or JSON, on standard output, and on standard error what to beware of."""
    if as_json:
        print(json.dumps(_document(results, health), indent=2))
    else:
        for line in table(results):
            print(line)
    for line in _remarks(results, health):
        print(line, file=sys.stderr)


def _document(results: Sequence[PhotoResult], health: Health) -> dict[str, Any]:
    return {
        "photos": [result.as_json() for result in results],
        "max_uncertainty": max_uncertainty(health.num_ages),
        "models": {"age": health.age_model, "gender": health.gender_model},
    }


def table(results: Sequence[PhotoResult]) -> list[str]:
    """Lay out one line a face, one for a photo without."""
    return in_columns([COLUMNS, *(row for result in results for row in _rows(result))])


def _rows(result: PhotoResult) -> list[tuple[str, ...]]:
    name = printable(str(result.photo.path))
    if result.error is not None:
        return [(name, "failed", *[NOTHING] * (len(COLUMNS) - 2))]
    if not result.guesses:
        return [(name, "none", *[NOTHING] * (len(COLUMNS) - 2))]
    return [(name, *_cells(number, guess)) for number, guess in enumerate(result.guesses, 1)]


def _cells(number: int, guess: SeenFace) -> tuple[str, ...]:
    known = guess.uncertainty
    unsure = (percent(known.age_share), percent(known.gender_share)) if known else (NOTHING,) * 2
    mark = "!" if guess.in_distribution is False else ""
    box = " ".join(f"{value:.0f}" for value in guess.bbox)
    return (f"{number}{mark}", f"{guess.age:.1f}", guess.gender_words, *unsure, box)


def _remarks(results: Sequence[PhotoResult], health: Health) -> list[str]:
    guesses = [guess for result in results for guess in result.guesses]
    num_foreign = sum(guess.in_distribution is False for guess in guesses)
    num_failed = sum(result.error is not None for result in results)
    networks = dict.fromkeys(result.face_model for result in results if result.guesses)
    warnings = (mismatch(network, health.trained_on) for network in networks)
    remarks = [printable(warning) for warning in warnings if warning]
    if num_foreign:
        remarks.append(
            f"{num_foreign} of {len(guesses)} faces (marked !) cannot be trusted: their vectors "
            "are not of the network that the models were trained on"
        )
    if num_failed:
        kinds = Counter(result.reason for result in results if result.error is not None)
        words = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
        remarks.append(f"{num_failed} of {len(results)} photos failed ({words})")
    return remarks


def _number_of(character: str) -> str:
    r"""Return the number of a letter, or the byte that stands in a name that is not UTF-8.

    >>> print(_number_of("\n"), _number_of("\udcff"))
    \x0a \xff
    """
    number = ord(character)
    return f"\\x{number - 0xDC00 if 0xDC80 <= number <= 0xDCFF else number:02x}"


def printable(text: str) -> str:
    r"""Write a text in one line that a terminal shows as it is.

    >>> print(printable("a\nb"))
    a\x0ab
    """
    return "".join(
        character if character.isprintable() else _number_of(character) for character in text
    )
