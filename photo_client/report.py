"""What the client prints: a table, or JSON."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from photo_client.answers import Health
from photo_client.face import SeenFace, max_uncertainty, percent
from photo_client.results import ClipResult, PhotoResult
from serving.network_check import mismatch
from utils.text import in_columns

COLUMNS = ("photo", "face", "age", "gender", "unsure of age", "of gender", "box")
CLIP_COLUMNS = (*COLUMNS[:-1], "box, or seconds")
NOTHING = "-"
NO_SOUND = "annotated clips have no sound"
AnyResult = PhotoResult | ClipResult


def report(results: Sequence[AnyResult], health: Health, as_json: bool) -> None:
    """Print a table, or JSON, on standard output, and on standard error what to beware of."""
    if as_json:
        print(json.dumps(_document(results, health), indent=2))
    else:
        for line in table(results):
            print(line)
    for line in _remarks(results, health):
        print(line, file=sys.stderr)


def people_document(result: ClipResult, health: Health) -> dict[str, Any]:
    """Return what is written of the people of a clip."""
    return {**result.as_json(with_boxes=True), **_models(health)}


def _document(results: Sequence[AnyResult], health: Health) -> dict[str, Any]:
    clips = [result for result in results if isinstance(result, ClipResult)]
    return {
        "photos": [result.as_json() for result in results if isinstance(result, PhotoResult)],
        **({"clips": [clip.as_json() for clip in clips]} if clips else {}),
        **_models(health),
    }


def _models(health: Health) -> dict[str, Any]:
    return {
        "max_uncertainty": max_uncertainty(health.num_ages),
        "models": {"age": health.age_model, "gender": health.gender_model},
    }


def table(results: Sequence[AnyResult]) -> list[str]:
    """Lay out one line a face, or a person of a clip; one for a photo or a clip without."""
    columns = CLIP_COLUMNS if any(result.photo.is_clip for result in results) else COLUMNS
    return in_columns([columns, *(row for result in results for row in _rows(result))])


def _rows(result: AnyResult) -> list[tuple[str, ...]]:
    name = printable(str(result.photo.path))
    if result.error is not None:
        return [(name, "failed", *[NOTHING] * (len(COLUMNS) - 2))]
    if not result.guesses:
        return [(name, "none", *[NOTHING] * (len(COLUMNS) - 2))]
    if isinstance(result, ClipResult):
        return [(name, *_cells(one.number, one.mean_face), one.times) for one in result.people]
    return [
        (name, *_cells(number, guess), " ".join(f"{value:.0f}" for value in guess.bbox))
        for number, guess in enumerate(result.guesses, 1)
    ]


def _cells(number: int, guess: SeenFace) -> tuple[str, ...]:
    known = guess.uncertainty
    unsure = (percent(known.age_share), percent(known.gender_share)) if known else (NOTHING,) * 2
    mark = "!" if guess.in_distribution is False else ""
    return (f"{number}{mark}", f"{guess.age:.1f}", guess.gender_words, *unsure)


def _remarks(results: Sequence[AnyResult], health: Health) -> list[str]:
    guesses = [guess for result in results for guess in result.guesses]
    num_foreign = sum(guess.in_distribution is False for guess in guesses)
    num_failed = sum(result.error is not None for result in results)
    clips = [result for result in results if isinstance(result, ClipResult)]
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
        what = "photos and clips" if clips else "photos"
        remarks.append(f"{num_failed} of {len(results)} {what} failed ({words})")
    if any(clip.error is None for clip in clips):
        remarks.append(NO_SOUND)
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
