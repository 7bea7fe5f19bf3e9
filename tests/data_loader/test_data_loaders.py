"""From data files to batches: rows, labels, split, order."""

import os
import pickle
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import make_faces, save_faces
from numpy.typing import NDArray

from base.base_data_loader import BaseDataLoader, BatchOrder, Split
from data_loader.data_loaders import AgeDataLoader, GenderDataLoader
from data_loader.data_sets import data_path
from data_loader.dataset import FaceDataset
from data_loader.faces import CHUNK_ROWS, read_faces
from data_loader.people import number_subjects
from data_loader.selection import Selection
from utils.errors import DataError

Rows = NDArray[np.int64]


def load_file(data_dir: Path, source: str) -> NDArray[Any]:
    faces: NDArray[Any] = np.load(data_path(data_dir, source), allow_pickle=False)
    return faces


def make_loader(data_dir: Path, **changes: Any) -> GenderDataLoader:
    arguments = {
        "data_dir": str(data_dir),
        "batch_size": 32,
        "shuffle": True,
        "validation_split": 0.1,
        "num_workers": 0,
        "dataset": "Adience",
        "num_classes": 2,
        "training": True,
    }
    return GenderDataLoader(**{**arguments, **changes})


def batches_of(loader: BaseDataLoader) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(embeddings.clone(), labels.clone()) for embeddings, labels in loader]


# --- which rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dataset", "sources"),
    [
        ("Adience", ["Adience"]),
        ("ADIENCE", ["Adience"]),
        ("imdb", ["imdb"]),
        ("Wiki", ["wiki"]),
        ("imdb_wiki", ["imdb", "wiki"]),
        ("IMDB_WIKI_Adience", ["imdb", "wiki", "Adience"]),
    ],
)
def test_a_data_set_is_its_files_one_after_the_other_in_any_case(
    data_dir: Path, dataset: str, sources: list[str]
) -> None:
    faces = read_faces(data_dir, dataset)
    files = [load_file(data_dir, source) for source in sources]
    for name in ("embedding", "age", "gender", "subject", "fold"):
        expected = np.concatenate([file[name] for file in files])
        np.testing.assert_array_equal(getattr(faces, name), expected)
    assert faces.embedding.dtype == np.float32
    assert len(faces) == sum(map(len, files))


@pytest.mark.parametrize("fold", [0, 3])
def test_a_held_out_fold_and_the_others_are_in_the_order_of_the_file(
    data_dir: Path, fold: int
) -> None:
    file = load_file(data_dir, "Adience")
    test = read_faces(data_dir, "Adience", Selection("test", fold))
    train = read_faces(data_dir, "Adience", Selection("train", fold))
    np.testing.assert_array_equal(test.embedding, file["embedding"][file["fold"] == fold])
    np.testing.assert_array_equal(train.embedding, file["embedding"][file["fold"] != fold])


def test_the_held_out_fold_and_the_others_share_neither_rows_nor_people(data_dir: Path) -> None:
    file = load_file(data_dir, "Adience")
    for fold in range(5):
        train = make_loader(data_dir, test_cross_val=fold, validation_split=0.0)
        test = make_loader(data_dir, test_cross_val=fold, training=False)
        assert set(train.source.faces.fold.tolist()) == set(range(5)) - {fold}
        assert set(test.source.faces.fold.tolist()) == {fold}
        assert not set(train.source.faces.subject.tolist()) & set(
            test.source.faces.subject.tolist()
        )
        assert train.n_samples + test.n_samples == len(file)


def test_without_a_held_out_fold_all_five_are_trained_on(data_dir: Path) -> None:
    assert set(make_loader(data_dir).source.faces.fold.tolist()) == set(range(5))


def test_the_held_out_fold_is_not_split(data_dir: Path) -> None:
    test = make_loader(data_dir, test_cross_val=1, training=False, validation_split=0.5)
    assert test.n_samples == 60
    assert test.split_validation() is None


def test_limited_data_are_that_many_rows_chosen_by_the_seed(data_dir: Path) -> None:
    def rows(limit: int, seed: int) -> list[bytes]:
        faces = read_faces(data_dir, "imdb_wiki", Selection(limit=limit, seed=seed))
        return [row.tobytes() for row in faces.embedding]

    order = {row: place for place, row in enumerate(rows(300, 1))}
    assert len(order) == 300
    assert len(rows(120, 1)) == 120
    assert rows(120, 1) == rows(120, 1)
    assert rows(120, 1) != rows(120, 2)
    places = [order[row] for row in rows(120, 1)]
    assert places == sorted(places)
    assert 0 < sum(place >= 200 for place in places) < 100  # of wiki too
    assert rows(300, 1) == rows(10**9, 1)


def test_limited_data_keep_the_columns_of_a_row_together(data_dir: Path) -> None:
    faces = read_faces(data_dir, "Adience", Selection("train", 1, limit=20))
    file = load_file(data_dir, "Adience")
    by_embedding = {row["embedding"].tobytes(): row for row in file}
    for index in range(20):
        row = by_embedding[faces.embedding[index].tobytes()]
        for name in ("age", "gender", "subject", "fold"):
            assert getattr(faces, name)[index] == row[name]
    assert 1 not in faces.fold


def test_rows_beyond_one_chunk_are_copied_right(tmp_path: Path) -> None:
    num_faces = CHUNK_ROWS + 3
    faces = np.zeros(num_faces, make_faces(1, 1, 0, is_adience=False).dtype)
    faces["gender"], faces["fold"] = "f", -1
    angles = np.linspace(0, 1, num_faces)
    faces["embedding"][:, 0], faces["embedding"][:, 1] = np.sin(angles), np.cos(angles)
    save_faces(faces, data_path(tmp_path, "imdb"))
    read = read_faces(tmp_path, "imdb", Selection(limit=num_faces - 1))
    assert len(set(read.embedding[:, 0].tolist())) == num_faces - 1
    assert (np.diff(read.embedding[:, 0]) > 0).all()
    faces["embedding"][CHUNK_ROWS + 1] = 0
    save_faces(faces, data_path(tmp_path, "imdb"))
    with pytest.raises(DataError, match=f"row {CHUNK_ROWS + 1} is zero"):
        read_faces(tmp_path, "imdb")


# --- bad files -----------------------------------------------------------------------------------


def change(**values: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Make a change of row 3 of a data file."""

    def apply(faces: NDArray[Any]) -> NDArray[Any]:
        for name, value in values.items():
            faces[name][3] = value
        return faces

    return apply


def retype(**types: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Make a change of the types of fields; None drops one."""

    def apply(faces: NDArray[Any]) -> NDArray[Any]:
        fields = [
            (name, types.get(name, faces.dtype[name]))
            for name in faces.dtype.names or ()
            if types.get(name, "") is not None
        ]
        changed = np.zeros(len(faces), fields)
        for name in changed.dtype.names or ():
            if changed.dtype[name].shape == faces.dtype[name].shape:
                changed[name] = faces[name]
        return changed

    return apply


def no_letter(faces: NDArray[Any]) -> NDArray[Any]:
    """Put a number that stands for no letter into the subject of row 3."""
    letters = np.ascontiguousarray(faces["subject"]).view(np.uint32).reshape(len(faces), -1)
    letters[3, 0] = 0x7FFFFFFF
    faces["subject"] = letters.view(faces["subject"].dtype)[:, 0]
    return faces


BAD_ARRAYS: list[tuple[str, Callable[[NDArray[Any]], NDArray[Any]], str]] = [
    ("Adience", change(embedding=np.nan), "the embedding of row 3 is zero or not finite"),
    ("Adience", change(embedding=-np.inf), "the embedding of row 3 is zero or not finite"),
    ("Adience", change(embedding=0), "the embedding of row 3 is zero or not finite"),
    ("imdb", change(embedding=40 / 512**0.5), "the embedding of row 3 has length 40, expected 1"),
    ("imdb", change(embedding=0.98 / 512**0.5), r"has length 0.98, expected 1 \(0.99 to 1.01\)"),
    ("imdb", change(age=1e38), "1 of 200 rows have an age above 9,999 years, .* row 3"),
    ("Adience", change(age=np.nan), "1 of 300 rows have no age of 0 years or more, .* row 3"),
    ("Adience", change(age=-1), "1 of 300 rows have no age"),
    ("Adience", change(age=np.inf), "1 of 300 rows have no age"),
    ("Adience", change(gender="u"), "1 of 300 rows have a gender other than 'm' or 'f'"),
    ("Adience", change(gender=""), "1 of 300 rows have a gender other than"),
    ("Adience", change(fold=5), "1 of 300 rows have a fold other than 0 to 4, .* row 3"),
    ("Adience", change(fold=-1), "1 of 300 rows have a fold other than 0 to 4"),
    ("imdb", change(fold=2), "1 of 200 rows have a fold of Adience"),
    ("imdb", retype(embedding=("f4", (128,))), r"embeddings of shape \(128,\), expected \(512,\)"),
    ("imdb", retype(embedding="f4"), r"embeddings of shape \(\), expected \(512,\)"),
    ("imdb", retype(embedding=("i4", (512,))), "field embedding holds int32"),
    ("imdb", retype(age=("f4", (2,))), r"field age holds float32 of shape \(200, 2\)"),
    ("imdb", retype(age="i4"), "field age holds int32"),
    ("imdb", retype(gender="S1"), r"field gender holds \|S1"),
    ("imdb", retype(subject="S12"), "field subject holds .S12"),
    ("imdb", retype(subject=None), "expected a 1-d structured array with the fields .*subject"),
    ("imdb", retype(embedding=None), "expected a 1-d structured array"),
    ("imdb", lambda faces: faces["embedding"], "expected a 1-d structured array"),
    ("imdb", lambda faces: faces[:10].reshape(2, 5), "expected a 1-d structured array"),
    ("imdb", lambda faces: faces[:0], "no face of imdb .* is left to use"),
    ("imdb", no_letter, "1 of 200 rows have a subject that is no text"),
]


@pytest.mark.parametrize(("source", "spoil", "message"), BAD_ARRAYS)
def test_a_file_with_bad_rows_or_fields_is_one_data_error_that_names_it(
    data_dir: Path,
    tmp_path: Path,
    source: str,
    spoil: Callable[[NDArray[Any]], NDArray[Any]],
    message: str,
) -> None:
    save_faces(spoil(load_file(data_dir, source)), data_path(tmp_path, source))
    with pytest.raises(DataError, match=message) as caught:
        read_faces(tmp_path, source)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


GOOD_ARRAYS = [
    retype(embedding=("f8", (512,)), age=">f8"),
    retype(embedding=(">f4", (512,)), fold="i8"),
    retype(det_score=None, image_path=None),
    retype(subject="U200"),
]


@pytest.mark.parametrize("vary", GOOD_ARRAYS)
def test_other_widths_and_byte_orders_of_a_field_read_the_same(
    data_dir: Path, tmp_path: Path, vary: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    save_faces(vary(load_file(data_dir, "imdb")), data_path(tmp_path, "imdb"))
    varied, plain = read_faces(tmp_path, "imdb"), read_faces(data_dir, "imdb")
    np.testing.assert_array_equal(varied.embedding, plain.embedding)
    np.testing.assert_array_equal(varied.age, plain.age)
    np.testing.assert_array_equal(varied.fold, plain.fold)


@pytest.mark.parametrize("length", [0.991, 1.0, 1.009])
def test_embeddings_of_nearly_unit_length_are_taken(
    data_dir: Path, tmp_path: Path, length: float
) -> None:
    """Rounding to float16 moves a length by less than a thousandth."""
    faces = load_file(data_dir, "imdb")
    faces["embedding"] = (faces["embedding"] * length).astype(np.float16)
    faces["age"][3] = 2014
    save_faces(faces, data_path(tmp_path, "imdb"))
    assert len(read_faces(tmp_path, "imdb")) == 200


def replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        assert content.count(old) == 1
        return content.replace(old, new)

    return apply


def boundless(content: bytes) -> bytes:
    """Promise 2 ** 64 rows, which 64 bits count as none, and give none."""
    content = replace(b"(200,), }" + b" " * 20, b"(4611686018427387904,4)}" + b" " * 5)(content)
    return content[: content.index(b"\n") + 1]


def with_shape(shape: str) -> Callable[[bytes], bytes]:
    """Write into a file of 200 rows another shape in its header, which keeps its length."""

    def apply(content: bytes) -> bytes:
        old, end = b"(200,), }", content.index(b"\n")
        new = f"{shape}, }}".encode()
        padded = content[:end].replace(old, new).rstrip().ljust(end)
        assert len(padded) == end
        return padded + content[end:]

    return apply


BAD_BYTES: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda content: content[:-1], "is damaged: .* bytes of data where its header promises"),
    (lambda content: content[: len(content) // 2], "is damaged"),
    (lambda content: content + b"x", "is damaged"),
    (lambda _: b"", "is not a .npy data file"),
    (lambda content: content[:7], "is not a .npy data file"),
    (lambda content: content[:60], "is not a .npy data file"),
    (lambda _: b"PK\x03\x04 a zip file", "is not a .npy data file"),
    (lambda _: b"age,gender\n1,m\n", "is not a .npy data file"),
    (replace(b"NUMPY\x01", b"NUMPY\x09"), "is not a .npy data file"),
    (replace(b"'fortran_order': False", b"'fortran_order': (alse"), "is not a .npy data file"),
    (replace(b"('age',", b"['age',"), "is not a .npy data file"),
    (replace(b"('age', '<f4')", b"('age', '<04')"), "is not a .npy data file"),
    (replace(b"{'descr'", b"{b'desc'"), "is not a .npy data file"),
    (replace(b"'shape': (200,)", b"'shape': (-20,)"), "is damaged"),
    (replace(b"'shape': (200,)", b"'shape': 2**100"), "is not a .npy data file"),
    (replace(b"(200,), }" + b" " * 12, b"(1 << 80,), }" + b" " * 8), "is not a .npy data file"),
    (boundless, "is damaged"),
    (with_shape("(True,)"), r"the shape \(True,\), which"),
    (with_shape("(False,)"), r"the shape \(False,\), which"),
    (with_shape("(-200, -1)"), r"the shape \(-200, -1\), which"),
    (with_shape(f"({2**40},)"), "the shape"),
    (with_shape("(100000,)"), "header promises"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD_BYTES)
def test_a_truncated_or_foreign_file_is_one_data_error_that_names_it(
    data_dir: Path, tmp_path: Path, spoil: Callable[[bytes], bytes], message: str
) -> None:
    path = data_path(tmp_path, "imdb")
    path.parent.mkdir()
    path.write_bytes(spoil(data_path(data_dir, "imdb").read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        read_faces(tmp_path, "imdb")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ("Adience", "get_Adience_clean('aligned'"),
        ("imdb", "get_imdb_wiki_clean('imdb'"),
        ("wiki", "get_imdb_wiki_clean('wiki'"),
    ],
)
def test_a_missing_file_names_the_command_that_makes_it(
    data_dir: Path, tmp_path: Path, source: str, command: str
) -> None:
    shutil.copytree(data_dir, tmp_path / "data")
    data_path(tmp_path / "data", source).unlink()
    with pytest.raises(DataError, match=re.escape(command)) as caught:
        read_faces(tmp_path / "data", "imdb_wiki_adience")
    assert "no such data file" in str(caught.value)
    assert f"det_score=0.9, data_dir={str(tmp_path / 'data')!r})" in str(caught.value)
    assert "make_sample_data" in str(caught.value)


def test_an_unknown_data_set_lists_the_known_ones(data_dir: Path) -> None:
    with pytest.raises(DataError, match=r"dataset 'lfw', known are adience, imdb, wiki"):
        read_faces(data_dir, "lfw")


# --- the original's files ------------------------------------------------------------------------


def original_records(faces: NDArray[Any], is_adience: bool) -> Any:
    """Return the records as the original project pickled them."""
    records = [
        {
            "image_path": f"data/{row['image_path']}",
            "age": float(row["age"]),
            "gender": str(row["gender"]),
            "embedding": row["embedding"].copy(),
        }
        for row in faces
    ]
    if not is_adience:
        return np.array(records, dtype=object)
    by_fold: dict[int, list[Any]] = {fold: [] for fold in range(5)}
    for record, fold in zip(records, faces["fold"].tolist(), strict=True):
        by_fold[fold].append({**record, "fold": fold})
    return np.array(by_fold, dtype=object)


@pytest.mark.parametrize("source", ["Adience", "imdb"])
def test_a_pickled_file_of_the_original_gives_the_same_faces(
    data_dir: Path, tmp_path: Path, source: str
) -> None:
    file = load_file(data_dir, source)
    path = data_path(tmp_path, source)
    path.parent.mkdir()
    np.save(path, original_records(file, source == "Adience"), allow_pickle=True)
    old = read_faces(tmp_path, source)
    rows = np.argsort(file["fold"], kind="stable")  # the original keeps fold after fold
    for name in ("embedding", "age", "gender", "subject", "fold"):
        np.testing.assert_array_equal(getattr(old, name), file[name][rows])
        assert getattr(old, name).dtype.kind == file[name].dtype.kind


def test_a_pickled_file_of_adience_splits_by_the_subject_in_its_image_paths(
    data_dir: Path, tmp_path: Path
) -> None:
    path = data_path(tmp_path, "Adience")
    path.parent.mkdir()
    np.save(path, original_records(load_file(data_dir, "Adience"), True), allow_pickle=True)
    loader = make_loader(tmp_path, validation_by="subject", validation_split=0.2)
    subjects = loader.source.faces.subject
    both = set(subjects[loader.rows].tolist()) & set(subjects[loader.validation_rows].tolist())
    assert len(set(subjects.tolist())) == 60
    assert len(loader.validation_rows) == 60
    assert not both


class Malicious:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_pickled_file_that_names_code_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    path, trace = data_path(tmp_path, "imdb"), tmp_path / "ran"
    path.parent.mkdir()
    bomb = Malicious(trace)
    pickle.loads(pickle.dumps(bomb))
    assert trace.exists()  # the bomb works
    trace.unlink()
    np.save(path, np.array([{"embedding": bomb}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError):
        read_faces(tmp_path, "imdb")
    assert not trace.exists()


# --- arguments and labels ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "lfw"}, "unknown dataset"),
        ({"dataset": "imdb", "test_cross_val": 5}, "test_cross_val is 5, .* of imdb in"),
        ({"test_cross_val": 5}, "test_cross_val is 5, expected one of the folds of Adience"),
        ({"test_cross_val": -1}, "test_cross_val is -1, .*: 0, 1, 2, 3, 4$"),
        ({"training": False}, "Adience in .* has no test fold"),
        ({"num_classes": 8}, "GenderDataLoader has 2 classes, num_classes is 8"),
        ({"classes": [[0, 17], [18, 99]]}, "GenderDataLoader has 2 classes, classes are ages"),
        ({"limit_data": 0}, "no face of Adience"),
        ({"validation_split": 300}, "leaves 0 to train on and 300 to validate on"),
        ({"validation_split": 400}, "leaves 0 to train on"),
        ({"validation_split": 0.001}, "leaves 300 to train on and 0 to validate on"),
        ({"validation_split": 0.9999, "validation_by": "subject"}, "leaves 0 to train on"),
        ({"dataset": "imdb", "validation_by": "subject"}, "who is on each image"),
    ],
)
def test_arguments_that_do_not_fit_the_data_are_data_errors(
    data_dir: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        make_loader(data_dir, **changes)


def test_genders_are_labelled_0_for_male_and_1_for_female(data_dir: Path) -> None:
    loader = make_loader(data_dir, shuffle=False, validation_split=0, batch_size=300)
    ((embeddings, labels),) = loader
    file = load_file(data_dir, "Adience")
    assert labels.tolist() == [{"m": 0, "f": 1}[gender] for gender in file["gender"].tolist()]
    assert labels.dtype is torch.int64
    np.testing.assert_array_equal(embeddings.numpy(), file["embedding"])


@pytest.mark.parametrize(("num_classes", "centre"), [(8, 28.5), (101, 28.0)])
def test_ages_are_labelled_by_the_nearest_class(
    data_dir: Path, num_classes: int, centre: float
) -> None:
    loader = AgeDataLoader(str(data_dir), 300, False, 0, 0, "Adience", num_classes, training=True)
    ((_, labels),) = loader
    ages = load_file(data_dir, "Adience")["age"]
    years = [1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80] if num_classes == 8 else list(range(101))
    expected = [min(range(num_classes), key=lambda c: (abs(years[c] - age), c)) for age in ages]
    assert labels.tolist() == expected
    assert years[expected[int(np.argmax(ages == 28.5))]] == centre  # 28.5 is a tie of 101


def test_ages_are_put_into_groups_of_years(data_dir: Path) -> None:
    arguments = (str(data_dir), 300, False, 0, 0, "Adience", 3)
    loader = AgeDataLoader(*arguments, training=True, classes=((0, 9), (12, 17), (18, 79)))
    ages = read_faces(data_dir, "Adience").age
    expected = [0 if age < 10.5 else 1 if age <= 17.5 else 2 for age in ages.tolist()]
    assert loader.dataset.labels.tolist() == expected  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="AgeDataLoader has 2 classes, num_classes is 3"):
        AgeDataLoader(*arguments, training=True, classes=((0, 9), (10, 99)))


@pytest.mark.parametrize("num_classes", [2, 7, 100])
def test_other_numbers_of_age_classes_are_refused(data_dir: Path, num_classes: int) -> None:
    with pytest.raises(DataError, match=f"8 or 101 classes, num_classes is {num_classes}"):
        AgeDataLoader(str(data_dir), 8, True, 0, 0, "wiki", num_classes, training=True)


def test_people_are_numbered_and_unknown_ones_are_all_different() -> None:
    numbers = number_subjects(np.array(["x", "", "y", "x", ""]))
    assert numbers is not None
    assert numbers[0] == numbers[3]
    assert len(set(numbers.tolist())) == 4
    assert number_subjects(np.array(["", "", ""])) is None


# --- the split -----------------------------------------------------------------------------------

SUBJECTS = np.repeat(np.arange(50), np.arange(50) % 7 + 1)  # 1 to 7 images a person
NUM_ROWS = len(SUBJECTS)
SPLITS = [
    Split(0.1, "image"),
    Split(0.5, "image", 0),
    Split(17, "image"),
    Split(1, "image"),
    Split(NUM_ROWS - 1, "image"),
    Split(0.1, "subject"),
    Split(0.5, "subject", 3),
    Split(30, "subject"),
    Split(1, "subject"),
]


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_is_disjoint_and_complete_and_ascending(split: Split) -> None:
    training, validation = split.rows(NUM_ROWS, SUBJECTS)
    assert sorted([*training, *validation]) == list(range(NUM_ROWS))
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [(0.1, NUM_ROWS // 10), (0.5, NUM_ROWS // 2), (17, 17), (1, 1), (0, 0), (0.0, 0)],
)
def test_a_split_by_image_takes_a_fraction_or_a_count(wanted: float, expected: int) -> None:
    training, validation = Split(wanted, "image").rows(NUM_ROWS, None)
    assert (len(training), len(validation)) == (NUM_ROWS - expected, expected)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("wanted", [0.1, 0.3, 25])
def test_a_split_by_subject_has_nobody_on_both_sides_and_about_the_size_asked_for(
    wanted: float, seed: int
) -> None:
    training, validation = Split(wanted, "subject", seed).rows(NUM_ROWS, SUBJECTS)
    assert not set(SUBJECTS[training]) & set(SUBJECTS[validation])
    num_wanted = wanted if wanted >= 1 else wanted * NUM_ROWS
    assert abs(len(validation) - num_wanted) <= 7 / 2 + 1  # half of the largest person


def test_a_split_by_image_puts_people_on_both_sides() -> None:
    training, validation = Split(0.3, "image").rows(NUM_ROWS, SUBJECTS)
    assert set(SUBJECTS[training]) & set(SUBJECTS[validation])


@pytest.mark.parametrize("by", ["image", "subject"])
def test_splits_of_several_seeds_all_differ(by: str) -> None:
    rows = {tuple(Split(0.1, by, seed).rows(NUM_ROWS, SUBJECTS)[1]) for seed in range(10)}
    assert len(rows) == 10


@pytest.mark.parametrize("by", ["image", "subject"])
def test_every_row_is_chosen_by_some_seed(by: str) -> None:
    chosen = {
        int(row) for seed in range(100) for row in Split(0.1, by, seed).rows(NUM_ROWS, SUBJECTS)[1]
    }
    assert chosen == set(range(NUM_ROWS))


@pytest.mark.parametrize("split", [Split(0.1, "image"), Split(0.1, "subject")])
def test_a_split_neither_touches_nor_sees_global_random_state(split: Split) -> None:
    def seed_all(seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)

    def draw_all() -> tuple[float, float, float]:
        return random.random(), np.random.random(), torch.rand(1).item()  # noqa: NPY002, S311

    seed_all(1)
    expected = draw_all()
    seed_all(1)
    first = split.rows(NUM_ROWS, SUBJECTS)
    assert draw_all() == expected
    seed_all(2)
    second = split.rows(NUM_ROWS, SUBJECTS)
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize(
    "split",
    [
        Split(0.0001, "image"),
        Split(NUM_ROWS, "image"),
        Split(NUM_ROWS + 1, "image"),
        Split(NUM_ROWS, "subject"),
    ],
)
def test_a_split_that_leaves_one_side_empty_is_refused(split: Split) -> None:
    with pytest.raises(DataError, match="both must be at least 1"):
        split.rows(NUM_ROWS, SUBJECTS)


def test_one_person_alone_cannot_be_split_by_subject() -> None:
    with pytest.raises(DataError, match="leaves 0 to train on and 9 to validate on"):
        Split(0.5, "subject").rows(9, np.zeros(9, np.int64))


def test_the_validation_loader_has_the_rows_set_aside_in_their_order(data_dir: Path) -> None:
    loader = make_loader(data_dir, validation_split=40)
    valid = loader.split_validation()
    assert valid is not None
    assert valid.n_samples == 40
    assert loader.n_samples == 260
    embeddings = torch.cat([embeddings for embeddings, _ in valid]).numpy()
    file = load_file(data_dir, "Adience")["embedding"]
    np.testing.assert_array_equal(embeddings, file[loader.validation_rows])
    assert not set(valid.rows.tolist()) & set(loader.rows.tolist())


def test_a_loader_draws_nothing_from_global_random_state(data_dir: Path) -> None:
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = torch.rand(1), np.random.random()  # noqa: NPY002
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    list(make_loader(data_dir, limit_data=100))
    assert (torch.rand(1), np.random.random()) == expected  # noqa: NPY002


# --- the order -----------------------------------------------------------------------------------


def order_of(num_rows: int, batch_size: int, shuffle: bool = True, seed: int = 42) -> BatchOrder:
    return BatchOrder(np.arange(num_rows) * 10, batch_size, shuffle, seed)


def batches(order: BatchOrder, epoch: int, first_batch: int = 0) -> list[list[int]]:
    order.epoch, order.first_batch = epoch, first_batch
    return [batch.tolist() for batch in order]


@pytest.mark.parametrize(
    ("num_rows", "batch_size", "sizes"),
    [
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),  # a single row left over joins the last batch
        (10, 4, [4, 4, 2]),
        (11, 4, [4, 4, 3]),
        (3, 4, [3]),
        (1, 4, [1]),
        (5, 4, [5]),
        (3, 1, [1, 1, 1]),
        (3, 2, [3]),
    ],
)
def test_batches_have_the_size_asked_for_and_no_row_is_left_alone(
    num_rows: int, batch_size: int, sizes: list[int]
) -> None:
    for shuffle in (True, False):
        order = order_of(num_rows, batch_size, shuffle)
        found = batches(order, 1)
        assert [len(batch) for batch in found] == sizes
        assert len(order) == len(sizes)
        rows = [row for batch in found for row in batch]
        assert sorted(rows) == [row * 10 for row in range(num_rows)]


def test_without_shuffle_the_rows_come_as_they_are_in_every_epoch() -> None:
    assert batches(order_of(5, 2, shuffle=False), 7) == [[0, 10], [20, 30, 40]]


def test_the_order_is_a_function_of_seed_and_epoch_alone() -> None:
    orders = [order_of(50, 8), order_of(50, 8)]
    batches(orders[1], 5)  # what was iterated before does not matter
    assert batches(orders[0], 3) == batches(orders[1], 3)
    torch.manual_seed(9)
    np.random.seed(9)  # noqa: NPY002
    assert batches(orders[0], 3) == batches(orders[1], 3)
    keys = [(seed, epoch) for seed in (1, 2) for epoch in (1, 2)]
    different = {str(batches(order_of(50, 8, seed=seed), epoch)) for seed, epoch in keys}
    assert len(different) == 4


@pytest.mark.parametrize("num_rows", [40, 41, 45])
def test_an_epoch_taken_up_at_a_batch_goes_on_as_it_would_have(num_rows: int) -> None:
    order = order_of(num_rows, 8)
    whole = batches(order, 2)
    for first_batch in range(len(whole) + 1):
        assert batches(order, 2, first_batch) == whole[first_batch:]
        assert len(order) == len(whole)


def test_each_epoch_has_every_training_row_once_and_no_validation_row(data_dir: Path) -> None:
    loader = make_loader(data_dir, validation_by="subject")
    for epoch in (1, 2):
        loader.order.epoch = epoch
        rows = torch.cat(list(loader.order)).tolist()
        assert sorted(rows) == loader.rows.tolist()
        assert not set(rows) & set(loader.validation_rows.tolist())


def test_a_batch_is_the_rows_that_the_order_names(data_dir: Path) -> None:
    loader = make_loader(data_dir)
    embeddings = torch.from_numpy(loader.source.faces.embedding)
    for rows, (batch, labels) in zip(loader.order, loader, strict=True):
        assert torch.equal(batch, embeddings[rows])
        assert labels.tolist() == [
            {"m": 0, "f": 1}[gender] for gender in loader.source.faces.gender[rows.numpy()].tolist()
        ]


@pytest.mark.parametrize("first_batch", [0, 3])
def test_two_workers_fetch_the_same_batches_as_none(data_dir: Path, first_batch: int) -> None:
    loaders = [make_loader(data_dir, num_workers=number, limit_data=200) for number in (0, 2)]
    for loader in loaders:
        loader.order.first_batch = first_batch
    expected, found = map(batches_of, loaders)
    assert len(expected) == len(found) == 6 - first_batch
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


@pytest.mark.parametrize(("num_workers", "expected"), [(0, 0), (1, 1), (2, 2), (8, 2)])
def test_workers_are_at_most_as_many_as_cpus(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, num_workers: int, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    loader = make_loader(data_dir, num_workers=num_workers)
    valid = loader.split_validation()
    assert valid is not None
    assert (loader.num_workers, valid.num_workers) == (expected, expected)


def test_one_row_and_a_list_of_rows_are_fetched_alike() -> None:
    dataset = FaceDataset(np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4))
    assert len(dataset) == 4
    assert [value.tolist() for value in dataset[2]] == [[6, 7, 8], 2]
    embeddings, labels = dataset.__getitems__([3, 0])
    assert embeddings.tolist() == [[9, 10, 11], [0, 1, 2]]
    assert labels.tolist() == [3, 0]
