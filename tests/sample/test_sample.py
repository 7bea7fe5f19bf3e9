import json
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from sklearn.linear_model import LogisticRegression

from extraction import adience, imdb_wiki
from extraction.cleaning import SAMPLE_MARK
from extraction.image_labels import ImageLabels
from sample.grid_faces import find_faces
from sample.make import make_sample_data
from utils.errors import DataError

SIZES = {"num_adience": 500, "num_imdb": 260, "num_wiki": 120}
DATASETS = {
    "Adience": ("data-aligned.npy", "meta-data-aligned.json", 500),
    "imdb_crop": ("data.npy", "meta-data.json", 260),
    "wiki_crop": ("data.npy", "meta-data.json", 120),
}
Array = np.ndarray[Any, np.dtype[Any]]
FoundFace = dict[str, Array]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample_data(tmp_path_factory.mktemp("sample") / "new", **SIZES)


@pytest.fixture(scope="module")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = make_sample_data(tmp_path_factory.mktemp("sample") / "full")
    yield folder
    shutil.rmtree(folder)


def load(sample: Path, name: str) -> Array:
    array: Array = np.load(sample / name / DATASETS[name][0], mmap_mode="r", allow_pickle=False)
    return array


def meta_data(sample: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((sample / name / DATASETS[name][1]).read_text())
    return content


def as_sent(path: Path) -> list[FoundFace]:
    """Find the faces of a picture that was padded, resized to 640 and compressed."""
    with Image.open(path) as picture:
        original = picture.convert("RGB")
    side = max(original.size)
    canvas = Image.new("RGB", (side, side))
    canvas.paste(original, ((side - original.width) // 2, (side - original.height) // 2))
    stream = BytesIO()
    canvas.resize((640, 640), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=75)
    with Image.open(stream) as sent:
        return find_faces(sent)


def nearest_middle(faces: list[FoundFace]) -> FoundFace:
    return min(faces, key=lambda face: float(np.hypot(*(face["bbox"].reshape(2, 2).mean(0) - 320))))


def cause(path: Path, *, is_adience: bool) -> str | None:
    """Return why an image with both labels is to be removed, by looking at it."""
    try:
        faces = as_sent(path)
    except (FileNotFoundError, UnidentifiedImageError, OSError):
        return "failed_to_process_image"
    if not faces:
        return "no_face_detected"
    if len(faces) > 1 and not is_adience:
        return "more_than_one_face"
    return "bad_quality" if nearest_middle(faces)["det_score"] < 0.9 else None


def records(sample: Path, name: str) -> list[ImageLabels]:
    if name == "Adience":
        return adience.read_labels(sample / name)
    return imdb_wiki.read_labels(sample / name, name.removesuffix("_crop"))


@pytest.mark.parametrize("name", DATASETS)
def test_the_cleaned_file_holds_what_the_rules_keep(sample: Path, name: str) -> None:
    counts = dict.fromkeys(meta_data(sample, name)["removed"], 0)
    kept = []
    for record in records(sample, name):
        if record.age is None:
            reason: str | None = "no_age_found"
        elif record.gender is None:
            reason = "no_gender_found"
        else:
            reason = cause(sample / name / record.image_path, is_adience=name == "Adience")
        if reason is None:
            kept.append(record)
        else:
            counts[reason] += 1
    array = load(sample, name)
    assert counts == meta_data(sample, name)["removed"]
    for field in ("image_path", "subject", "age", "gender", "fold"):
        assert array[field].tolist() == [getattr(record, field) for record in kept]


@pytest.mark.parametrize("name", DATASETS)
def test_the_array_has_the_agreed_fields(sample: Path, name: str) -> None:
    array = load(sample, name)
    kinds = {field: array.dtype[field].kind for field in array.dtype.names or ()}
    assert kinds.pop("image_path") == kinds.pop("subject") == "U"
    assert list(kinds) == ["age", "gender", "fold", "det_score", "embedding"]
    assert array.dtype["gender"] == np.dtype("<U1")
    assert array.dtype["fold"] == np.dtype("i1")
    assert array["age"].dtype == array["det_score"].dtype == np.dtype("<f4")
    assert array["embedding"].dtype == np.dtype("<f4")
    assert array["embedding"].shape == (len(array), 512)
    assert np.linalg.norm(array["embedding"], axis=1) == pytest.approx(1, abs=1e-5)
    assert set(array["gender"].tolist()) == {"f", "m"}


@pytest.mark.parametrize("name", DATASETS)
def test_every_image_is_counted_once_and_marked_synthetic(sample: Path, name: str) -> None:
    content, array = meta_data(sample, name), load(sample, name)
    assert content["total_num_images"] == DATASETS[name][2]
    assert content["total_num_images"] == content["num_images"] + sum(content["removed"].values())
    assert content["num_images"] == len(array) == sum(content["ages"].values())
    assert {float(age) for age in content["ages"]} == set(array["age"].tolist())
    assert sum(content["genders"].values()) == len(array)
    assert (content["det_score"], content["resize"]) == (0.9, 640)
    assert content["extractor"]["synthetic"] is True
    assert ("more_than_one_face" in content["removed"]) == (name != "Adience")
    assert "folds" not in content or sum(content["folds"]) == content["total_num_images"]


@pytest.mark.parametrize("name", DATASETS)
def test_pictures_give_back_the_vectors_of_the_cleaned_file(sample: Path, name: str) -> None:
    for row in load(sample, name)[::5]:
        face = nearest_middle(as_sent(sample / name / str(row["image_path"])))
        assert face["normed_embedding"] @ row["embedding"] > 0.98
        assert float(face["det_score"]) == pytest.approx(row["det_score"], abs=0.02)


def test_pictures_can_be_read_without_resizing(sample: Path) -> None:
    for row in load(sample, "wiki_crop")[::5]:
        with Image.open(sample / "wiki_crop" / str(row["image_path"])) as picture:
            (face,) = find_faces(picture)
        assert face["normed_embedding"] @ row["embedding"] > 0.98


def test_pictures_are_small_and_come_in_all_modes(sample: Path) -> None:
    modes = set()
    for path in sample.rglob("*.jpg"):
        assert path.stat().st_size <= 6 * 1024
        try:
            with Image.open(path) as picture:
                modes.add(picture.mode)
        except UnidentifiedImageError:
            modes.add("not an image")
    assert modes == {"RGB", "L", "RGBA", "P", "not an image"}


def test_the_fold_files_have_the_quirks_of_the_real_ones(full_size: Path) -> None:
    texts = [(full_size / "Adience" / f"fold_{fold}_data.txt").read_text() for fold in range(5)]
    rows = [line.split("\t") for text in texts for line in text.splitlines()[1:]]
    assert {len(row) for row in rows} == {12}
    assert {"(25, 32)", "35", "None", "", "(27, 32)", "(38, 48)", "(8, 23)", "(25, 23)"} <= {
        row[3] for row in rows
    }
    assert {row[4] for row in rows} == {"f", "m", "u", ""}
    assert len(rows) > len({tuple(row[:3]) for row in rows}) == 1000


def test_folds_share_no_album_and_an_album_holds_several_images(full_size: Path) -> None:
    all_records = adience.read_labels(full_size / "Adience")
    albums = {(record.subject, record.fold) for record in all_records}
    assert len({subject for subject, _ in albums}) == len(albums)
    assert 200 < len(albums) < len(all_records) / 3


@pytest.mark.parametrize(("name", "lowest", "highest"), [("gender", 0.95, 1), ("age", 0.7, 0.9)])
def test_a_linear_classifier_learns_both_and_age_not_wholly(
    full_size: Path, name: str, lowest: float, highest: float
) -> None:
    array = np.asarray(load(full_size, "Adience"))
    labels = np.unique(array[name], return_inverse=True)[1]
    hits, near_hits = [], []
    for fold in range(5):
        held_out = array["fold"] == fold
        model = LogisticRegression(C=3, max_iter=1000)
        model.fit(array["embedding"][~held_out], labels[~held_out])
        distance = np.abs(model.predict(array["embedding"][held_out]) - labels[held_out])
        hits += (distance == 0).tolist()
        near_hits += (distance <= 1).tolist()
    assert lowest < np.mean(hits) <= highest
    assert np.mean(near_hits) > 0.9


def test_what_imdb_and_wiki_teach_helps_on_adience(full_size: Path) -> None:
    train = [np.asarray(load(full_size, name)) for name in ("imdb_crop", "wiki_crop")]
    test = np.asarray(load(full_size, "Adience"))
    model = LogisticRegression(C=3, max_iter=1000)
    model.fit(
        np.concatenate([array["embedding"] for array in train]),
        np.concatenate([array["gender"] for array in train]),
    )
    assert model.score(test["embedding"], test["gender"]) > 0.95


def test_images_of_one_person_are_alike_and_of_two_are_not(sample: Path) -> None:
    array = load(sample, "Adience")
    cosine = array["embedding"] @ array["embedding"].T
    same = array["subject"][:, None] == array["subject"]
    assert 0.5 < np.median(cosine[same & ~np.eye(len(array), dtype=bool)]) < 0.8
    assert abs(np.median(cosine[~same])) < 0.1


def test_the_same_arguments_give_the_same_bytes(sample: Path, tmp_path: Path) -> None:
    again = make_sample_data(tmp_path / "again", **SIZES)
    other = make_sample_data(tmp_path / "other", seed=1, **SIZES)
    for name, (file, meta_file, _) in DATASETS.items():
        for part in (file, meta_file):
            assert (again / name / part).read_bytes() == (sample / name / part).read_bytes()
        assert (other / name / file).read_bytes() != (sample / name / file).read_bytes()


def test_a_second_call_leaves_a_complete_sample_alone(
    sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    marker = sample / "Adience" / "data-aligned.npy"
    before = marker.stat().st_mtime_ns
    assert make_sample_data(sample, **SIZES) == sample
    assert "is there already" in capsys.readouterr().out
    assert marker.stat().st_mtime_ns == before


def test_a_sample_that_was_cut_short_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    sizes = {"num_adience": 20, "num_imdb": 20, "num_wiki": 20}
    with monkeypatch.context() as patch:
        patch.setattr("sample.make.write_mat", stop)
        with pytest.raises(KeyboardInterrupt):
            make_sample_data(tmp_path, **sizes)
    make_sample_data(tmp_path, **sizes)
    assert (tmp_path / "wiki_crop" / "data.npy").is_file()
    output = capsys.readouterr().out
    assert "synthetic sample (no real faces)" in output
    assert "is there already" not in output


def test_a_sample_made_with_other_arguments_is_not_overwritten(sample: Path) -> None:
    with pytest.raises(DataError, match="delete the folder or name a new one"):
        make_sample_data(sample, seed=3, **SIZES)


def test_a_folder_with_other_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"mine")
    with pytest.raises(DataError, match="not a synthetic sample"):
        make_sample_data(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photo.jpg"]


def test_an_empty_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 or more"):
        make_sample_data(tmp_path / "new", num_wiki=0)
    assert not (tmp_path / "new").exists()


def test_the_folder_says_that_it_is_synthetic(sample: Path) -> None:
    assert (sample / "README.txt").read_text().startswith("SYNTHETIC DATA")
    assert json.loads((sample / SAMPLE_MARK).read_text())["synthetic"] is True
