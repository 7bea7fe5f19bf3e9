import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_helpers import answering, face
from helpers import ROOT
from PIL import Image
from serving_helpers import (
    NOWHERE,
    expected_of,
    grids,
    save_model,
    send_picture,
    serving,
    settings_of,
    vectors,
)

from faces.client import AnswerError, FaceAnswer, ServerAwayError
from faces.errors import ImageError
from http_client.retry import RetryPolicy
from sample.stand_in_server import SYNTHETIC_MODEL, Behaviour, StandInServer
from serving import load_predictor
from serving import predictor as predictor_module
from serving.engine import ClosedError
from serving.predictor import Predictor
from utils.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with StandInServer(behaviour=Behaviour(model_name=SYNTHETIC_MODEL)) as server:
        yield server.url


def arguments_of(folder: Path, **changes: Any) -> dict[str, Any]:
    settings = settings_of(folder)
    paths = {"age": settings["age_model"], "gender": settings["gender_model"]}
    return {**paths, "device": "cpu", "threads": 1, **changes}


@pytest.fixture(scope="module")
def predictor(folder: Path, url: str) -> Iterator[Predictor]:
    with load_predictor(**arguments_of(folder, face_server_url=url)) as loaded:
        yield loaded


def png(picture: Image.Image, **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, "PNG", **options)
    return stream.getvalue()


def test_the_numbers_are_those_of_post_image(predictor: Predictor, folder: Path, url: str) -> None:
    with serving(folder, face_server_url=url) as server:
        response = send_picture(server, png(grids(3)), "?mc_samples=0")
    faces = predictor(png(grids(3)), mc_samples=0)
    assert len(faces) == 3
    said = [
        {"bbox": one.pop("box"), **one} for one in json.loads(json.dumps(list(map(asdict, faces))))
    ]
    assert said == response.get_json()["faces"]


def test_every_kind_of_photo_gives_the_same_faces(predictor: Predictor, tmp_path: Path) -> None:
    picture = grids(2)
    path = tmp_path / "photo.png"
    path.write_bytes(png(picture))
    kinds = [str(path), path, path.read_bytes(), picture, np.asarray(picture)]
    first, *others = predictor(kinds, mc_samples=0)
    assert isinstance(first, list)
    assert len(first) == 2
    assert others == [first] * 4


def test_a_picture_of_pillow_is_turned_as_its_file_is_and_stays_as_it_was(
    predictor: Predictor,
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = png(grids(2).transpose(Image.Transpose.ROTATE_90), exif=exif)
    picture = Image.open(BytesIO(content))
    size, info = picture.size, dict(picture.info)
    assert predictor(picture, mc_samples=0) == predictor(content, mc_samples=0) != []
    assert (picture.size, picture.info) == (size, info)


def test_a_square_picture_of_pillow_keeps_its_metadata(predictor: Predictor) -> None:
    picture = Image.new("RGB", (640, 640))
    picture.info["comment"] = b"kept"
    assert predictor(picture) == []
    assert picture.info == {"comment": b"kept"}


def test_a_huge_picture_of_pillow_is_made_smaller_first(predictor: Predictor) -> None:
    assert predictor(Image.new("L", (1, 60_000))) == []


def test_many_photos_get_one_call_of_the_models_and_keep_their_order(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    original = predictor.engine.predict

    def predict(embeddings: Any, num_passes: int = 0) -> Any:
        sizes.append(len(embeddings))
        return original(embeddings, num_passes)

    monkeypatch.setattr(predictor.engine, "predict", predict)
    counts = [2, 0, 3, 1, 0]
    answers = predictor([png(grids(count)) for count in counts], mc_samples=0)
    assert sizes == [6]
    for count, faces in zip(counts, answers, strict=True):
        assert isinstance(faces, list)
        ages, _ = expected_of(vectors(count))
        np.testing.assert_allclose([one.age for one in faces], ages, atol=0.3)  # after compression
    assert predictor([]) == []
    assert predictor((png(grids(0)),)) == [[]]
    assert sizes == [6]


def test_passes_tell_more_of_the_uncertainty(predictor: Predictor) -> None:
    (face,) = predictor(grids(1))
    assert set(face.gender) == {"m", "f"}
    assert 0 < face.uncertainty["gender"] <= np.log(2)
    assert face.in_distribution is None
    with pytest.raises(UserError, match="mc_samples is -1, expected 0 or more"):
        predictor(grids(1), mc_samples=-1)


def test_a_photo_that_cannot_be_read_does_not_lose_the_others(
    predictor: Predictor, tmp_path: Path
) -> None:
    good = png(grids(1))
    floats = np.zeros((9, 9, 3))
    photos: list[Any] = [
        good,
        b"no picture",
        good[: len(good) // 2],
        tmp_path / "none.jpg",
        floats,
        good,
    ]
    first, *errors, last = predictor(photos, mc_samples=0)
    assert first == last != []
    assert all(isinstance(error, ImageError) for error in errors)
    assert [str(error).partition(":")[0] for error in errors] == [
        *("not an image", "truncated or damaged image", "no such file", "not an image")
    ]
    assert "array float64 (9, 9, 3), expected uint8 (H, W, 3)" in str(errors[-1])
    for photo in photos[1:-1]:
        with pytest.raises(ImageError):
            predictor(photo)


@pytest.mark.parametrize("shape", [(9, 9), (9, 9, 4), (0, 9, 3), (1, 9, 9, 3)])
def test_an_array_of_another_shape_is_no_photo(shape: Any, predictor: Predictor) -> None:
    with pytest.raises(ImageError, match="expected uint8"):
        predictor(np.zeros(shape, np.uint8))


def test_what_is_no_kind_of_photo_is_an_error_of_the_program(predictor: Predictor) -> None:
    with pytest.raises(TypeError, match="of type int, expected a path, bytes"):
        predictor(5)  # type: ignore[call-overload]


def test_a_picture_that_the_face_network_cannot_use_is_an_error_of_its_own(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(monkeypatch, lambda *_: FaceAnswer(None)):
        (error,) = predictor([grids(1)])
    assert "cannot use the picture" in str(error)


def test_a_face_server_that_is_busy_is_asked_again_and_one_that_is_away_raises(
    predictor: Predictor, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [AnswerError("HTTP 429", is_busy=True)]

    def answer(*_: Any) -> FaceAnswer:
        if left:
            raise left.pop()
        return FaceAnswer([face(1)])

    monkeypatch.setattr(predictor_module, "RETRY", RetryPolicy((0.0,)))
    with answering(monkeypatch, answer):
        assert len(predictor(grids(1), mc_samples=0)) == 1
    with (
        load_predictor(**arguments_of(folder, face_server_url=NOWHERE)) as lonely,
        pytest.raises(ServerAwayError),
    ):
        lonely([grids(1), grids(1)])


def test_threads_may_share_it(predictor: Predictor) -> None:
    photos = [grids(number % 3) for number in range(12)]
    expected = [predictor(photo, mc_samples=0) for photo in photos]
    with ThreadPoolExecutor(6) as threads:
        answers = list(threads.map(lambda photo: predictor(photo, mc_samples=0), photos))
    for faces, others in zip(answers, expected, strict=True):
        assert [one.box for one in faces] == [one.box for one in others]
        assert [one.age for one in faces] == pytest.approx([one.age for one in others], abs=1e-3)


def test_embeddings_can_be_predicted_without_a_face_network(folder: Path) -> None:
    with load_predictor(**arguments_of(folder)) as predictor:
        predictions = predictor.predict_embeddings(vectors(5), mc_samples=0)
        assert predictor.predict_embeddings(np.zeros((0, 512))) == []
        ages, genders = expected_of(vectors(5))
        np.testing.assert_allclose([one.age for one in predictions], ages, atol=1e-3)
        np.testing.assert_allclose(
            [one.gender["m"] for one in predictions], genders[:, 0], atol=1e-5
        )
        for wrong in (np.zeros(512), np.zeros((1, 5)), np.full((1, 512), np.nan)):
            with pytest.raises(UserError, match="expected finite numbers"):
                predictor.predict_embeddings(wrong)
        with pytest.raises(UserError, match=r"face 1 has length 20, expected 1 .*divide"):
            predictor.predict_embeddings(vectors(2) * [[1], [20]])
        with pytest.raises(UserError, match="give load_predictor a face_pack"):
            predictor(grids(1))


def test_embeddings_of_another_length_or_of_no_numbers_are_refused_as_by_post(
    folder: Path,
) -> None:
    good = np.asarray(vectors(2), np.float64)
    longer = np.stack([good[0], 3 * good[1]])
    with load_predictor(**arguments_of(folder)) as predictor:
        assert predictor.predict_embeddings([]) == []
        assert len(predictor.predict_embeddings(good.tolist(), 2)) == 2
        for vectors_of_other_length in (longer, 0 * good):
            with pytest.raises(UserError, match=r"face . has length ., expected 1 "):
                predictor.predict_embeddings(vectors_of_other_length)
        for wrong in (1e300 * good, good > 0, good.astype(str), [[1.0], [1.0, 2.0]]):
            with pytest.raises(UserError, match="expected finite numbers"):
                predictor.predict_embeddings(wrong)
        passes: Any
        for passes in (2.5, None, "3"):
            with pytest.raises(UserError, match=r"mc_samples is .*, expected 0 or more"):
                predictor.predict_embeddings(good, passes)


def test_many_embeddings_are_predicted_in_parts(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.predicted_faces.MAX_BATCH_ROWS", 2)
    with load_predictor(**arguments_of(folder)) as predictor:
        ages = [one.age for one in predictor.predict_embeddings(vectors(5), mc_samples=0)]
    np.testing.assert_allclose(ages, expected_of(vectors(5))[0], atol=1e-3)


def test_a_picture_without_pixels_is_none(predictor: Predictor) -> None:
    with pytest.raises(ImageError, match="not an image: 0 x 10 pixels"):
        predictor(Image.new("RGB", (0, 10)))


def test_what_is_under_way_is_finished_before_it_closes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = load_predictor(**arguments_of(folder, face_server_url=NOWHERE))
    closing = threading.Thread(target=predictor.close)

    def answer(*_: Any) -> FaceAnswer:
        if not predictor._is_closed:
            closing.start()
            while not predictor._is_closed:
                pass
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer):
        (faces,) = predictor([grids(1)], mc_samples=0)
    assert isinstance(faces, list)
    closing.join(60)
    assert not closing.is_alive()


def test_a_forked_process_is_told_that_it_has_no_threads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load_predictor(**arguments_of(folder)) as predictor, monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: -1)
        with pytest.raises(ClosedError, match="forked"):
            predictor.predict_embeddings(vectors(1))


def test_a_closed_predictor_says_so(folder: Path) -> None:
    predictor = load_predictor(**arguments_of(folder))
    predictor.close()
    with pytest.raises(ClosedError, match="the predictor is closed"):
        predictor(grids(1))
    with pytest.raises(ClosedError, match="the predictor is closed"):
        predictor.predict_embeddings(vectors(1))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"age": "none.pth"}, "none.pth: no age model there"),
        ({"device": "gpu"}, "device: 'gpu', expected"),
        ({"age": ""}, "age: "),
        ({"face_server_url": "ftp://a/"}, "face_server_url: "),
    ],
)
def test_a_wrong_argument_is_named(changes: dict[str, Any], complaint: str, folder: Path) -> None:
    with pytest.raises(UserError, match=complaint):
        load_predictor(**arguments_of(folder, **changes))


def test_a_network_that_the_models_were_not_trained_with_is_told_once(
    folder: Path, url: str, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    age = save_model(tmp_path / "age.pth", 101, extractor={"imdb": {"model": "buffalo_l"}})
    with load_predictor(**arguments_of(folder, age=age, face_server_url=url)) as predictor:
        assert predictor.network_check.warning is None
        for _ in range(2):
            predictor(grids(1))
        warning = predictor.network_check.warning
    line = (
        f"faces come from the network {SYNTHETIC_MODEL!r}, and age.pth was trained with 'buffalo_l'"
    )
    assert warning == line
    assert program_log.messages == [f"{line}: their ages and genders cannot be trusted"]


def test_nothing_is_told_of_a_network_that_has_no_name_or_the_right_one(
    folder: Path, url: str, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    right, nameless = {"imdb": {"model": SYNTHETIC_MODEL}}, {"imdb": {"server": "x"}}
    for number, extractor in enumerate((right, nameless, {})):
        age = save_model(tmp_path / f"{number}.pth", 101, extractor=extractor)
        with load_predictor(**arguments_of(folder, age=age, face_server_url=url)) as predictor:
            predictor(grids(1))
            assert predictor.network_check.model == SYNTHETIC_MODEL
    assert program_log.messages == []


def test_the_settings_load_without_torch() -> None:
    code = "import sys, serving.settings; sys.exit('torch' in sys.modules)"
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stderr) == (0, "")
    with pytest.raises(ImportError, match="cannot import name 'load_predictors'"):
        exec("from serving import load_predictors")  # noqa: S102
