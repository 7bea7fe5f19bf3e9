"""The Adience part of the synthetic sample: albums, fold files and the photos they name."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from extraction.adience import CLASS_LABELS, COLUMNS, IMAGE_PATHS
from sample.people import FaceSpace, SamplePhoto
from utils.labels import NUM_FOLDS

FOLD_SIZES = np.array([4484, 3730, 3894, 3446, 3816])
"""Images in the folds of the real set; the sample has folds of the same proportions."""

# The share of a class in the real set, and its years.
CLASS_SHARES = (1400, 2157, 2285, 1790, 5240, 2783, 931, 866)
CLASS_YEARS = ((0, 3), (4, 7), (8, 13), (15, 21), (25, 33), (38, 44), (48, 54), (60, 84))
# Bare years and odd ranges that the real files hold, by class.
BARE_YEARS = (
    *(("2",), ("3",), ("13",), ("22",), ("23", "29", "32", "34")),
    *(("35", "36", "42", "45"), ("46", "55", "57", "58"), ()),
)
ODD_RANGES = {3: ("(8, 23)",), 4: ("(27, 32)", "(25, 23)"), 5: ("(38, 42)", "(38, 48)")}
LABEL_FORMS = {"range": 0.82, "year": 0.08, "odd": 0.06, "None": 0.025, "": 0.015}
GENDER_FORMS = {"known": 0.94, "u": 0.045, "": 0.015}
FEMALE_SHARE = 0.534
EVEN_STEPS = np.array([0.7548776662, 0.5698402910])
"""Multiples of these fill the unit square evenly, so that the folds resemble each other."""

SECOND_ALBUM_SHARE = 0.04
NUM_PHOTOS = (2, 7)
REPEATED_SHARE = 0.02

FoldRow = tuple[str, ...]


def write_folds(dataset_dir: Path, num_images: int, space: FaceSpace) -> list[SamplePhoto]:
    """Write the five fold files and return the `num_images` photos that they name."""
    folds: list[list[FoldRow]] = [[] for _ in range(NUM_FOLDS)]
    photos: list[SamplePhoto] = []
    num_people = np.zeros(NUM_FOLDS, int)
    while len(photos) < num_images:
        fold = int(np.argmax(FOLD_SIZES / FOLD_SIZES.sum() * num_images - [len(f) for f in folds]))
        point = (num_people[fold] * EVEN_STEPS + fold / NUM_FOLDS) % 1
        num_people[fold] += 1
        num_photos = min(int(space.rng.integers(*NUM_PHOTOS)), num_images - len(photos))
        for row, photo in _person_photos(num_people.sum(), num_photos, point, space):
            folds[fold].append(row)
            photos.append(photo)
    for fold, rows in enumerate(folds):
        repeated = [row for row in rows if space.rng.random() < REPEATED_SHARE]
        lines = ["\t".join(row) for row in (COLUMNS, *rows, *repeated)]
        path = dataset_dir / f"fold_{fold}_data.txt"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return photos


def _person_photos(
    number: int, num_photos: int, point: npt.NDArray[np.float64], space: FaceSpace
) -> Iterator[tuple[FoldRow, SamplePhoto]]:
    """Draw a person with an album of photos, or with two; `point` in 0..1 picks gender and age."""
    rng, person = space.rng, space.person("f" if point[0] < FEMALE_SHARE else "m")
    age_class = int(np.searchsorted(np.cumsum(CLASS_SHARES) / sum(CLASS_SHARES), point[1]))
    years = float(rng.uniform(*CLASS_YEARS[age_class]))
    num_albums = 2 if rng.random() < SECOND_ALBUM_SHARE else 1
    albums = [f"{rng.integers(10**7, 10**8)}@N{rng.integers(10):02d}" for _ in range(num_albums)]
    for index in range(num_photos):
        label, gender = _age_label(age_class, space), space.pick(GENDER_FORMS)
        names = {
            "user_id": albums[index % num_albums],
            "original_image": f"{rng.integers(10**9, 10**10)}_{rng.integers(2**40):010x}_o.jpg",
            "face_id": str(number),
        }
        labels = (label, person.gender if gender == "known" else gender)
        box, angles = rng.integers(0, 2000, size=4), 5 * rng.integers(-18, 19, size=2)
        numbers = (str(number) for number in (*box, *angles, rng.integers(20, 100)))
        shown_years = float(label) if label.isdigit() else years
        photo = space.photo(IMAGE_PATHS["aligned"].format_map(names), person, shown_years)
        yield (*names.values(), *labels, *numbers), photo


def _age_label(age_class: int, space: FaceSpace) -> str:
    form = space.pick(LABEL_FORMS)
    if form == "year" and BARE_YEARS[age_class]:
        return str(space.rng.choice(BARE_YEARS[age_class]))
    if form == "odd" and age_class in ODD_RANGES:
        return str(space.rng.choice(ODD_RANGES[age_class]))
    return form if form in ("None", "") else CLASS_LABELS[age_class]
