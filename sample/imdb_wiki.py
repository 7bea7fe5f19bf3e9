"""The IMDB-WIKI part of the synthetic sample: MATLAB files and the photos that they name."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from extraction.imdb_wiki import MATLAB_DAY_OF_YEAR_1
from sample.people import FaceSpace, Person, Photo, pick
from utils.files import atomic_write

MEAN_PHOTOS = {"imdb": 4, "wiki": 1}
FEMALE_SHARE = {"imdb": 0.43, "wiki": 0.24}
UNKNOWN_GENDER_SHARE = {"imdb": 0.015, "wiki": 0.04}
MEAN_AGE, AGE_SPREAD, OLDEST = 37, 15, 96
FIRST_YEAR, LAST_YEAR = 1975, 2014
DATE_FORMS = {"right": 0.972, "year 0": 0.01, "taken before birth": 0.009, "year 1": 0.009}
SYLLABLES = ("ba", "do", "fe", "gi", "ka", "lu", "ma", "no", "pe", "ri", "sa", "to", "vi", "ze")


@dataclass(frozen=True, slots=True)
class Celebrity:
    """A made-up person with a birthday; `number` counts from 1."""

    number: int
    name: str
    birthday: date
    person: Person
    gender_known: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: a column of the MATLAB file, and the photo."""

    celebrity: Celebrity
    dob: int
    photo_taken: int
    photo: Photo


def write_mat(
    dataset_dir: Path, name: str, num_images: int, space: FaceSpace, rng: np.random.Generator
) -> list[Photo]:
    """Write `imdb.mat` or `wiki.mat` and return the `num_images` photos that it names."""
    entries: list[Entry] = []
    while len(entries) < num_images:
        number = entries[-1].celebrity.number + 1 if entries else 1
        years = int(np.clip(rng.normal(MEAN_AGE, AGE_SPREAD), 0, OLDEST))
        celebrity = _celebrity(number, name, years, space, rng)
        num_photos = min(1 + int(rng.poisson(MEAN_PHOTOS[name] - 1)), num_images - len(entries))
        entries += [_entry(name, celebrity, years, space, rng) for _ in range(num_photos)]
    fields = _fields(entries, rng)
    if name == "imdb":
        celebrities = {entry.celebrity.number: entry.celebrity.name for entry in entries}
        numbers = [entry.celebrity.number for entry in entries]
        fields |= {
            "celeb_names": _cells(list(celebrities.values())),
            "celeb_id": _row(numbers, "f8"),
        }
    with atomic_write(dataset_dir / f"{name}.mat") as file:
        savemat(file, {name: fields})
    return [entry.photo for entry in entries]


def _celebrity(
    number: int, name: str, years: int, space: FaceSpace, rng: np.random.Generator
) -> Celebrity:
    """Draw a person who can be `years` old on a photo of the years covered."""
    words = ["".join(rng.choice(SYLLABLES, size=size)) for size in rng.integers(2, 4, size=2)]
    born = int(rng.integers(FIRST_YEAR, LAST_YEAR + 1)) - years
    return Celebrity(
        number=number,
        name=" ".join(words).title(),
        birthday=date(born, int(rng.integers(1, 13)), int(rng.integers(1, 29))),
        person=space.person("f" if rng.random() < FEMALE_SHARE[name] else "m", rng),
        gender_known=bool(rng.random() >= UNKNOWN_GENDER_SHARE[name]),
    )


def _entry(
    name: str, celebrity: Celebrity, years: int, space: FaceSpace, rng: np.random.Generator
) -> Entry:
    """Draw one photo, at about `years`, and what the MATLAB file says of its dates."""
    birthday = celebrity.birthday
    age = int(np.clip(years + rng.normal(0, 3), 0, OLDEST)) if MEAN_PHOTOS[name] > 1 else years
    taken = birthday.year + age + int(birthday.month > date(1, 6, 1).month)
    dob = birthday.toordinal() + MATLAB_DAY_OF_YEAR_1
    form = pick(DATE_FORMS, rng)
    if form == "year 0":
        dob = int(rng.integers(1, MATLAB_DAY_OF_YEAR_1))
    elif form == "year 1":
        dob = MATLAB_DAY_OF_YEAR_1 + birthday.timetuple().tm_yday
    elif form == "taken before birth":
        taken = birthday.year - int(rng.integers(1, 32))
    number = int(rng.integers(10**6, 10**7))
    stem = f"{10**7 + celebrity.number * 1009 if name == 'wiki' else celebrity.number:07d}"
    middle = f"_rm{number}" if name == "imdb" else ""
    prefix = "nm" if name == "imdb" else ""
    path = f"{stem[-2:]}/{prefix}{stem}{middle}_{birthday.isoformat()}_{taken}.jpg"
    return Entry(celebrity, dob, taken, space.photo(path, celebrity.person, age, rng))


def _fields(entries: Sequence[Entry], rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Make the fields that both files have, each 1 x N as the real ones."""
    genders = [
        float(entry.celebrity.person.gender == "m") if entry.celebrity.gender_known else np.nan
        for entry in entries
    ]
    kinds = [entry.photo.kind for entry in entries]
    scores = [-np.inf if kind == "no face" else rng.uniform(1, 6) for kind in kinds]
    second_scores = [rng.uniform(1, 4) if kind == "two faces" else np.nan for kind in kinds]
    boxes = rng.integers(1, 60, size=(len(entries), 2))
    locations = [np.array([[x, y, x + 150, y + 150]], np.float64) for x, y in boxes]
    return {
        "dob": _row([entry.dob for entry in entries], "i4"),
        "photo_taken": _row([entry.photo_taken for entry in entries], "u2"),
        "full_path": _cells([entry.photo.image_path for entry in entries]),
        "gender": _row(genders, "f8"),
        "name": _cells([entry.celebrity.name for entry in entries]),
        "face_location": _cells(locations),
        "face_score": _row(scores, "f8"),
        "second_face_score": _row(second_scores, "f8"),
    }


def _row(numbers: Sequence[float], dtype: str) -> npt.NDArray[Any]:
    return np.array([numbers], dtype)


def _cells(contents: Sequence[object]) -> npt.NDArray[np.object_]:
    cells = np.empty((1, len(contents)), object)
    for number, content in enumerate(contents):
        cells[0, number] = content
    return cells
