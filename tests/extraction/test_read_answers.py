import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stored import AS_IT_WAS, RESIZED, Opens, make_face, store, vector

from extraction.places import Places
from extraction.stored_answers import (
    MAX_BYTES,
    MissingError,
    StoredAnswers,
    StoredFace,
    UnusableError,
)


def faces_of(folder: Path, image_path: str, resize: int = 640) -> list[StoredFace]:
    faces = StoredAnswers(Places(folder), resize).read(image_path)
    assert faces is not None
    return faces


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_faces_are_read_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    faces = [make_face(0.8, (100, 50)), make_face(0.7, (500, 400), seed=1)]
    store(tmp_path / "01/a.jpg", faces, protocol=protocol)
    first, second = faces_of(tmp_path, "01/a.jpg", 640)
    assert (first.det_score, first.centre) == (0.8, (100, 50))
    assert second.centre == (500, 400)
    assert second.embedding.dtype == np.float32
    assert np.array_equal(second.embedding, vector(1))


def test_a_file_of_numpy_1_is_read(tmp_path: Path) -> None:
    content = pickle.dumps([make_face()], protocol=4)
    full, short = b"numpy._core.multiarray", b"numpy.core.multiarray"
    old = content.replace(bytes([len(full)]) + full, bytes([len(short)]) + short)
    assert old != content
    (tmp_path / "a.jpg.pkl").write_bytes(old)
    (face,) = faces_of(tmp_path, "a.jpg", 0)
    assert np.array_equal(face.embedding, vector())


def test_scores_and_vectors_of_other_widths_are_read(tmp_path: Path) -> None:
    face = make_face() | {"det_score": np.array(0.75, np.float32)}
    face |= {"normed_embedding": vector().astype(np.float64), "bbox": np.ones(4, np.float32)}
    store(tmp_path / "a.jpg", [face])
    (read,) = faces_of(tmp_path, "a.jpg", 640)
    assert (read.det_score, read.centre) == (0.75, (1, 1))
    assert read.embedding.dtype == np.float32


@pytest.mark.parametrize(
    ("resize", "there", "score"),
    [
        (640, (RESIZED, AS_IT_WAS), 0.1),
        (640, (AS_IT_WAS,), 0.2),
        (0, (RESIZED, AS_IT_WAS), 0.2),
        (0, (RESIZED,), None),
        (640, (), None),
    ],
)
def test_the_resized_answer_comes_first_if_the_images_were_resized(
    tmp_path: Path, resize: int, there: tuple[str, ...], score: float | None
) -> None:
    for suffix in there:
        store(tmp_path / "a.jpg", [make_face(0.1 if suffix == RESIZED else 0.2)], suffix)
    answers = StoredAnswers(Places(tmp_path), resize)
    assert answers.has("a.jpg") == (score is not None)
    if score is None:
        with pytest.raises(MissingError):
            answers.read("a.jpg")
    else:
        (face,) = faces_of(tmp_path, "a.jpg", resize)
        assert face.det_score == score


def test_an_answer_for_the_image_as_it_was_is_no_answer_for_the_resized_one(
    tmp_path: Path,
) -> None:
    store(tmp_path / "a.jpg", [make_face()], AS_IT_WAS)
    answers = StoredAnswers(Places(tmp_path), 640, falls_back=False)
    assert not answers.has("a.jpg")
    with pytest.raises(MissingError):
        answers.read("a.jpg")


def test_answers_under_the_name_of_the_original_project_are_counted(tmp_path: Path) -> None:
    store(tmp_path / "old.jpg", [make_face()], AS_IT_WAS)
    store(tmp_path / "new.jpg", [make_face()], RESIZED)
    answers = StoredAnswers(Places(tmp_path), 640)
    for name in ("new.jpg", "old.jpg"):
        answers.read(name)
    assert answers.num_fallbacks == 1


def test_a_null_answer_and_an_empty_one_differ(tmp_path: Path) -> None:
    store(tmp_path / "null.jpg", None)
    store(tmp_path / "empty.jpg", [])
    answers = StoredAnswers(Places(tmp_path), 640)
    assert answers.read("null.jpg") is None
    assert answers.read("empty.jpg") == []


def changed(**changes: object) -> list[dict[str, Any]]:
    return [make_face(), make_face() | changes]


def without(name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in make_face().items() if key != name}]


NAN = float("nan")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"faces": []}, "something else than a list of faces"),
        (["face"], "something else than a list of faces"),
        ("text", "something else than a list of faces"),
        (False, "something else than a list of faces"),
        (without("bbox"), "'bbox'"),
        (without("det_score"), "'det_score'"),
        (without("normed_embedding"), "'normed_embedding'"),
        (changed(det_score="0.9"), "'det_score'"),
        (changed(bbox=np.zeros(4, np.int64)), "'bbox'"),
        (changed(bbox=np.zeros(5)), "wrong shape"),
        (changed(normed_embedding=vector()[:511]), "wrong shape"),
        (changed(det_score=np.zeros(1)), "wrong shape"),
        (changed(bbox=np.array([0, 0, NAN, 1])), "not finite"),
        (changed(bbox=np.array([0, 0, np.inf, 1])), "not finite"),
        (changed(det_score=np.float64(NAN)), "not finite"),
        (changed(normed_embedding=vector() * 0), "length 0, 1 was expected"),
        (changed(normed_embedding=vector() * 1.02), "length 1.02, 1 was expected"),
        (changed(normed_embedding=np.full(512, NAN)), "length nan"),
        (changed(normed_embedding=np.full(512, 1e300)), "length inf"),
        (changed(normed_embedding=np.full(512, 1e30, np.float32)), "length inf"),
    ],
)
def test_an_answer_that_is_not_a_list_of_faces_is_corrupt(
    tmp_path: Path, answer: object, reason: str
) -> None:
    path = store(tmp_path / "a.jpg", answer)
    with pytest.raises(UnusableError, match=reason) as caught:
        StoredAnswers(Places(tmp_path), 640).read("a.jpg")
    assert (caught.value.path, caught.value.is_corrupt) == (path, True)


@pytest.mark.parametrize("length", [0.991, 1.009])
def test_a_length_within_a_hundredth_is_unit_length(tmp_path: Path, length: float) -> None:
    store(tmp_path / "a.jpg", changed(normed_embedding=vector() * np.float32(length)))
    assert len(faces_of(tmp_path, "a.jpg", 640)) == 2


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_file_that_is_cut_off_is_corrupt(tmp_path: Path, share: float) -> None:
    path = store(tmp_path / "a.jpg", [make_face()])
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UnusableError, match="damaged or cut short") as caught:
        StoredAnswers(Places(tmp_path), 640).read("a.jpg")
    assert caught.value.is_corrupt


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    store(tmp_path / "a.jpg", [make_face() | {"more": Opens(made)}])
    with pytest.raises(UnusableError, match="not on the list of names"):
        StoredAnswers(Places(tmp_path), 640).read("a.jpg")
    assert not made.exists()


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.jpg.pkl").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UnusableError, match="is larger than") as caught:
        StoredAnswers(Places(tmp_path), 640).read("a.jpg")
    assert caught.value.is_corrupt


def test_what_is_no_file_cannot_be_used_and_is_not_called_corrupt(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg.pkl").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg.pkl")
    for name in ("folder.jpg", "pipe.jpg"):
        with pytest.raises(UnusableError, match=r"no regular file|Is a directory") as caught:
            StoredAnswers(Places(tmp_path), 0).read(name)
        assert not caught.value.is_corrupt


def pick(tmp_path: Path, resize: int, *centres: tuple[float, float]) -> int:
    """Return the number of the face that is chosen."""
    faces = [make_face(centre=centre, seed=number) for number, centre in enumerate(centres)]
    store(tmp_path / "a.jpg", faces, AS_IT_WAS)
    answers = StoredAnswers(Places(tmp_path), resize)
    chosen = answers.nearest_to_centre("a.jpg", answers.read("a.jpg") or ())
    return [np.array_equal(chosen.embedding, face["normed_embedding"]) for face in faces].index(
        True
    )


def test_the_argument_names_the_frame_of_a_resized_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "open", None)  # the image is not there, and is not opened
    assert pick(tmp_path, 640, (0, 0), (300, 340), (408, 408)) == 1
    assert pick(tmp_path, 816, (0, 0), (300, 340), (408, 408)) == 2


def test_distance_is_measured_along_both_axes(tmp_path: Path) -> None:
    assert pick(tmp_path, 640, (320, 520), (440, 440)) == 1
    assert pick(tmp_path, 640, (320, 470), (440, 440)) == 0
    assert pick(tmp_path, 640, (220, 420), (320, 440)) == 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "MPO", "WEBP"])
def test_an_image_sent_as_it_was_is_opened_for_its_middle(tmp_path: Path, kind: str) -> None:
    Image.new("RGB", (1000, 200)).save(tmp_path / "a.jpg", kind)
    assert pick(tmp_path, 0, (100, 500), (500, 100)) == 1
    Image.new("RGB", (200, 1000)).save(tmp_path / "a.jpg", kind)
    assert pick(tmp_path, 0, (100, 500), (500, 100)) == 0


def test_the_better_score_wins_at_the_same_distance(tmp_path: Path) -> None:
    assert pick(tmp_path, 640, (310, 320), (330, 320)) == 0


@pytest.mark.parametrize("content", [None, b"no image", b"GIF89a"])
def test_an_image_whose_size_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(UnusableError, match="its size cannot be read") as caught:
        pick(tmp_path, 0, (0, 0), (1, 1))
    assert (caught.value.path, caught.value.is_corrupt) == (tmp_path / "a.jpg", False)
