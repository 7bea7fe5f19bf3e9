"""What the client prints: a table, or JSON."""

import json
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

from photo_client.answers import Health
from photo_client.face import SeenFace, max_uncertainty, percent
from photo_client.options import ClientOptions
from photo_client.results import ClipResult, PhotoResult
from serving.network_check import mismatch
from utils.text import in_columns

NOTHING = "-"
NO_SOUND = "annotated clips have no sound"
AnyResult = PhotoResult | ClipResult


def report(results: Sequence[AnyResult], health: Health, options: ClientOptions) -> None:
    """Print a table, or JSON, on standard output, and on standard error what to beware of."""
    if options.json:
        print(json.dumps(_document(results, health, options.level), indent=2))
    else:
        for line in table(results, options):
            print(line)
    for line in _remarks(results, health):
        print(line, file=sys.stderr)


def people_document(result: ClipResult, health: Health, level: float) -> dict[str, Any]:
    """Return what is written of the people of a clip."""
    return {**result.as_json(with_boxes=True), **_estimator(health, level)}


def _document(results: Sequence[AnyResult], health: Health, level: float) -> dict[str, Any]:
    clips = [result for result in results if isinstance(result, ClipResult)]
    return {
        "photos": [result.as_json() for result in results if isinstance(result, PhotoResult)],
        **({"clips": [clip.as_json() for clip in clips]} if clips else {}),
        **_estimator(health, level),
    }


def _estimator(health: Health, level: float) -> dict[str, Any]:
    return {
        "level": level,
        "max_uncertainty": max_uncertainty(health.num_ages),
        "models": {"age": health.age_model, "gender": health.gender_model},
    }


def table(results: Sequence[AnyResult], options: ClientOptions) -> list[str]:
    """Lay out one line a face, or a person of a clip; one for a photo or a clip without."""
    guesses = [guess for result in results for guess in result.guesses]
    has_ranges = any(guess.age_interval is not None for guess in guesses)
    level = f"{100 * options.level:g} %"
    has_clips = any(result.photo.is_clip for result in results)
    columns = (
        *("photo", "face", f"age, {level} range" if has_ranges else "age", "gender"),
        *(f"{years}+" for years in options.over),
        "box, or seconds" if has_clips else "box",
    )
    return in_columns([columns, *(row for result in results for row in _rows(result, options))])


def _rows(result: AnyResult, options: ClientOptions) -> list[tuple[str, ...]]:
    name = printable(str(result.photo.path))
    if result.error is not None or not result.guesses:
        what = "none" if result.error is None else "failed"
        return [(name, what, *[NOTHING] * (3 + len(options.over)))]
    if isinstance(result, ClipResult):
        shown = [(one.number, one.mean_face, one.times) for one in result.people]
    else:
        shown = [
            (number, guess, " ".join(f"{value:.0f}" for value in guess.bbox))
            for number, guess in enumerate(result.guesses, 1)
        ]
    return [
        (name, f"{number}{_mark(guess)}", *_cells(guess, options), where)
        for number, guess, where in shown
    ]


def _mark(guess: SeenFace) -> str:
    return "!" if guess.in_distribution is False else "?" if guess.covered is False else ""


def _cells(guess: SeenFace, options: ClientOptions) -> tuple[str, ...]:
    shares = [(guess.over or {}).get(str(years)) for years in options.over]
    over = (NOTHING if share is None else percent(share) for share in shares)
    return (guess.age_words, guess.gender_words, *over)


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
    num_unclear = sum(_mark(guess) == "?" for guess in guesses)
    if num_unclear:
        remarks.append(
            f"{num_unclear} of {len(guesses)} faces (marked ?) are unclear: the ranges were "
            "measured on clearer ones, and may not hold"
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
