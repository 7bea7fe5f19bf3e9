"""The query of a request: what may follow the question mark."""

from collections.abc import Mapping
from dataclasses import dataclass

from serving.bodies import BodyError

KNOWN = ("mc_samples", "normalize", "strict", "answer")
IMAGE_QUERY = ("mc_samples",)
ANSWERS = ("2021", "2022")


@dataclass(frozen=True)
class Query:
    """How a request wants its answer.

    Attributes:
        mc_samples: passes with dropout; 0 for none.
        normalize: take vectors of any length.
        strict: refuse vectors of another network.
        is_of_2022: answer as the original project did in 2022.
    """

    mc_samples: int = 0
    normalize: bool = False
    strict: bool = False
    is_of_2022: bool = False


def read_query(
    given: Mapping[str, str],
    max_mc_samples: int,
    known: tuple[str, ...] = KNOWN,
    default: Query = Query(),
) -> Query:
    """Read and check a query.

    Args:
        given: names to values.
        max_mc_samples: more are refused.
        known: names that are allowed.
        default: what holds if the query does not say.

    Raises:
        BodyError: an unknown name, or a value out of its range.
    """
    unknown = sorted(given.keys() - set(known))
    if unknown:
        raise BodyError(f"unknown parameter {unknown[0][:50]!r}, known are {', '.join(known)}")
    answer = given.get("answer", ANSWERS[0])
    if answer not in ANSWERS:
        raise BodyError(f"answer is {answer[:50]!r}, expected {' or '.join(ANSWERS)}")
    return Query(
        mc_samples=_count(given.get("mc_samples"), max_mc_samples, default.mc_samples),
        normalize=_flag("normalize", given.get("normalize", "0")),
        strict=_flag("strict", given.get("strict", "0")),
        is_of_2022=answer == "2022",
    )


def check_passes(num_faces: int, mc_samples: int, most: int) -> None:
    """Refuse more passes with dropout over faces than a request may have.

    Raises:
        BodyError: there are more.
    """
    if num_faces * mc_samples > most:
        raise BodyError(
            f"{num_faces:,} faces x {mc_samples:,} passes, at most {most:,} in all", 413
        )


def _count(text: str | None, most: int, default: int) -> int:
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or len(text) > 12:
        raise BodyError(f"mc_samples is {text[:50]!r}, expected a whole number from 0 to {most:,}")
    if int(text) > most:
        raise BodyError(f"mc_samples is {int(text):,}, at most {most:,}", 413)
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise BodyError(f"{name} is {text[:50]!r}, expected 0 or 1")
    return text == "1"
