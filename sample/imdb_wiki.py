"""The IMDB-WIKI part of the synthetic sample: MATLAB files and the photos that they name."""

from collections.abc import Iterator, Sequence
from datetime import date
from itertools import count, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.io import savemat

from extraction.imdb_wiki import FIRST_MONTH_OF_SECOND_HALF, MATLAB_DAY_OF_YEAR_1
from sample.people import FaceSpace, SamplePhoto
from utils.files import atomic_write

MEAN_PHOTOS = {"imdb": 4, "wiki": 1}
FEMALE_SHARE = {"imdb": 0.43, "wiki": 0.24}
UNKNOWN_GENDER_SHARE = {"imdb": 0.015, "wiki": 0.04}
MEAN_AGE, AGE_SPREAD, OLDEST = 37, 15, 96
CAREER_SPREAD = 3
"""Standard deviation of the years between the photos of a celebrity who has several."""

FIRST_YEAR, LAST_YEAR = 1975, 2014
DATE_FORMS = {"right": 0.972, "year 0": 0.01, "taken before birth": 0.009, "year 1": 0.009}
SYLLABLES = ("ba", "do", "fe", "gi", "ka", "lu", "ma", "no", "pe", "ri", "sa", "to", "vi", "ze")


class MatEntry(NamedTuple):
    """One image: a column of the MATLAB file, and the photo."""

    celeb_id: int
    name: str
    gender: float
    dob: int
    photo_taken: int
    photo: SamplePhoto


def write_mat(dataset_dir: Path, name: str, num_images: int, space: FaceSpace) -> list[SamplePhoto]:
    """Write `imdb.mat` or `wiki.mat` and return the `num_images` photos that it names."""
    entries = list(islice(_entries(name, space), num_images))
    fields = _fields(entries, space.rng)
    if name == "imdb":
        names = {entry.celeb_id: entry.name for entry in entries}
        fields["celeb_names"] = _cells(list(names.values()))
        fields["celeb_id"] = np.array([[entry.celeb_id for entry in entries]], "f8")
    with atomic_write(dataset_dir / f"{name}.mat") as file:
        savemat(file, {name: fields})
    return [entry.photo for entry in entries]


def _entries(dataset: str, space: FaceSpace) -> Iterator[MatEntry]:
    """Draw celebrities, counted from 1, and their photos, without end."""
    rng = space.rng
    for celeb_id in count(1):
        years = int(np.clip(rng.normal(MEAN_AGE, AGE_SPREAD), 0, OLDEST))
        born = int(rng.integers(FIRST_YEAR, LAST_YEAR + 1)) - years
        birthday = date(born, int(rng.integers(1, 13)), int(rng.integers(1, 29)))
        words = ["".join(rng.choice(SYLLABLES, size=size)) for size in rng.integers(2, 4, size=2)]
        person = space.person("f" if rng.random() < FEMALE_SHARE[dataset] else "m")
        is_unknown = rng.random() < UNKNOWN_GENDER_SHARE[dataset]
        for _ in range(1 + int(rng.poisson(MEAN_PHOTOS[dataset] - 1))):
            age = years
            if MEAN_PHOTOS[dataset] > 1:
                age = int(np.clip(years + rng.normal(0, CAREER_SPREAD), 0, OLDEST))
            dob, taken = _dates(birthday, age, space)
            stem = f"{10**7 + celeb_id * 1009}"
            if dataset == "imdb":
                stem = f"nm{celeb_id:07d}_rm{rng.integers(10**6, 10**7)}"
            path = f"{celeb_id % 100:02d}/{stem}_{birthday}_{taken}.jpg"
            photo = space.photo(path, person, age)
            gender = np.nan if is_unknown else float(person.gender == "m")
            yield MatEntry(celeb_id, " ".join(words).title(), gender, dob, taken, photo)


def _dates(birthday: date, age: int, space: FaceSpace) -> tuple[int, int]:
    """Return `dob` and `photo_taken` as the MATLAB file has them, now and then impossible ones."""
    taken = birthday.year + age + int(birthday.month >= FIRST_MONTH_OF_SECOND_HALF)
    dob = birthday.toordinal() + MATLAB_DAY_OF_YEAR_1
    form = space.pick(DATE_FORMS)
    if form == "year 0":
        dob = int(space.rng.integers(1, MATLAB_DAY_OF_YEAR_1))
    elif form == "year 1":
        dob = MATLAB_DAY_OF_YEAR_1 + birthday.timetuple().tm_yday
    elif form == "taken before birth":
        taken = birthday.year - int(space.rng.integers(1, 32))
    return dob, taken


def _fields(entries: Sequence[MatEntry], rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
    """Make the fields that both files have, each 1 x N as the real ones."""
    kinds = [entry.photo.kind for entry in entries]
    scores = [-np.inf if kind == "no face" else rng.uniform(1, 6) for kind in kinds]
    second_scores = [rng.uniform(1, 4) if kind == "two faces" else np.nan for kind in kinds]
    corners = rng.integers(1, 60, size=(len(entries), 2))
    return {
        "dob": np.array([[entry.dob for entry in entries]], "i4"),
        "photo_taken": np.array([[entry.photo_taken for entry in entries]], "u2"),
        "full_path": _cells([entry.photo.image_path for entry in entries]),
        "gender": np.array([[entry.gender for entry in entries]], "f8"),
        "name": _cells([entry.name for entry in entries]),
        "face_location": _cells([np.array([[x, y, x + 150.0, y + 150.0]]) for x, y in corners]),
        "face_score": np.array([scores], "f8"),
        "second_face_score": np.array([second_scores], "f8"),
    }


def _cells(contents: Sequence[object]) -> npt.NDArray[np.object_]:
    """Make a cell array, 1 x N; numpy would join equal shapes."""
    cells = np.empty((1, len(contents)), object)
    for number, content in enumerate(contents):
        cells[0, number] = content
    return cells
