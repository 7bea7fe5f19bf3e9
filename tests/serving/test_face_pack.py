import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_helpers import answering, face
from helpers import ROOT
from model_packs import as_file, picture, write_pack
from serving_helpers import (
    JSON,
    error_of,
    save_model,
    send_picture,
    serving,
    settings_of,
    statistics_of,
)
from werkzeug.test import TestResponse

from face_networks.analyzer import FaceAnalyzer
from faces.client import AnswerError, FaceAnswer, ServerAwayError
from faces.photo import prepare
from faces.wire import encode_request
from faces.wire_decode import decode_answer
from serving import load_predictor
from serving.routes import AgeGenderApp
from utils.errors import ConfigError, UserError

PHOTO = as_file(picture((15, 4), (5, 8)))
BOTH = "face_pack and face_server_url are both given"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_pack(tmp_path_factory.mktemp("packs") / "little"))


@pytest.fixture(scope="module")
def server(folder: Path, pack: str) -> Iterator[AgeGenderApp]:
    with serving(folder, face_pack=pack) as running:
        yield running


def ask_for_faces(server: AgeGenderApp, image: bytes) -> TestResponse:
    return server.test_client().post("/faces", data=encode_request(image), content_type=JSON)


def same(one: FaceAnswer, other: FaceAnswer) -> bool:
    assert one.faces is not None
    assert other.faces is not None
    pairs = zip(one.faces, other.faces, strict=True)
    return one.model == other.model and all(
        np.array_equal(value, getattr(second, name))
        for first, second in pairs
        for name, value in asdict(first).items()
    )


def test_one_program_answers_a_picture(server: AgeGenderApp) -> None:
    content = send_picture(server, PHOTO, "?mc_samples=0").get_json()
    assert content["model"] == "little"
    lefts = [one["bbox"][0] for one in content["faces"]]
    assert len(lefts) == 2
    assert lefts == sorted(lefts)
    assert all(0.5 < one["det_score"] <= 1 for one in content["faces"])


def test_health_tells_what_finds_the_faces(server: AgeGenderApp, folder: Path) -> None:
    health = server.test_client().get("/health").get_json()
    assert health["faces"] == {
        "in_process": True,
        "model": "little",
        "device": "cpu",
        "warning": None,
    }
    assert health["face_server_url"] is None
    with serving(folder) as other:
        health = other.test_client().get("/health").get_json()
    assert health["faces"] == {"in_process": False, "model": None, "device": None, "warning": None}


def test_the_faces_are_answered_as_a_face_server_does(server: AgeGenderApp, pack: str) -> None:
    jpeg = prepare(PHOTO, 640).jpeg
    answer = decode_answer(ask_for_faces(server, jpeg).data)
    with FaceAnalyzer(pack, "cpu") as analyzer:
        assert same(answer, analyzer.ask(jpeg))
    assert decode_answer(ask_for_faces(server, b"no picture").data) == FaceAnswer(None, "little")


def test_a_request_for_faces_of_another_form_is_refused(server: AgeGenderApp) -> None:
    client = server.test_client()
    for body in (b"", b"x", b"{}", b'"{}"', json.dumps(json.dumps({"embeddings": []})).encode()):
        response = client.post("/faces", data=body, content_type=JSON)
        assert "expected a JSON string" in error_of(response, 400)
    assert error_of(client.get("/faces"), 405)


def test_networks_that_fail_are_told_as_what_they_are_and_the_next_picture_is_answered(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("numbers of a face")

    source = server.predictor.face_source
    assert isinstance(source, FaceAnalyzer)
    with monkeypatch.context() as patch:
        patch.setattr(source._networks.detector, "find", fail)
        for answer in (send_picture(server, PHOTO), ask_for_faces(server, PHOTO)):
            said = "the face pack of this server gave no faces: the face networks failed"
            assert error_of(answer, 503).startswith(said)
            assert b"numbers of a face" not in answer.data
    assert send_picture(server, PHOTO).status_code == 200


def test_as_many_requests_for_faces_wait_as_of_other_requests(server: AgeGenderApp) -> None:
    with ExitStack() as places:
        for _ in range(server.settings.max_queue - 1):
            places.enter_context(server.requests.entered())
        assert ask_for_faces(server, PHOTO).status_code == 200
        places.enter_context(server.requests.entered())
        response = ask_for_faces(server, PHOTO)
    assert "busy: 32 at once" in error_of(response, 429)
    assert response.headers["Retry-After"] == "1"


def test_a_face_server_behind_answers_in_the_same_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = FaceAnswer([face(1), face(2)], "other")
    with serving(folder) as running:
        with answering(monkeypatch, lambda *_: said):
            assert same(decode_answer(ask_for_faces(running, PHOTO).data), said)
        assert "is away" in error_of(ask_for_faces(running, PHOTO), 503)


@pytest.mark.parametrize(
    ("image", "error", "status"),
    [
        (PHOTO[:500], AnswerError("HTTP 500"), 200),
        (PHOTO, AnswerError("HTTP 500"), 503),
        (PHOTO[:500], AnswerError("HTTP 429", is_busy=True), 503),
        (PHOTO[:500], ServerAwayError("no answer"), 503),
    ],
)
def test_a_picture_that_cannot_be_used_is_no_failure_of_the_face_server_behind(
    image: bytes, error: Exception, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> FaceAnswer:
        raise error

    with serving(folder) as running, answering(monkeypatch, fail):
        response = ask_for_faces(running, image)
    assert response.status_code == status
    if status == 200:
        assert decode_answer(response.data) == FaceAnswer(None)


def test_the_predictor_says_what_post_image_says(
    server: AgeGenderApp, folder: Path, pack: str
) -> None:
    settings = settings_of(folder)
    models = {"age": settings["age_model"], "gender": settings["gender_model"]}
    content = send_picture(server, PHOTO, "?mc_samples=0").get_json()
    with load_predictor(**models, face_pack=Path(pack), device="cpu", threads=1) as predictor:
        faces = predictor(PHOTO, mc_samples=0)
        many = predictor([PHOTO] * 9, mc_samples=0)
    assert json.loads(json.dumps([one.as_json() for one in faces])) == content["faces"]
    for others in many:
        assert isinstance(others, list)
        assert [one.box for one in others] == [one.box for one in faces]


@pytest.mark.parametrize(
    ("cores", "given", "expected"),
    [(8, 0, 4), (2, 0, 1), (1, 0, 1), (8, 7, 7)],
    ids=["others", "none left", "one core", "as given"],
)
def test_the_models_take_the_cores_that_pictures_leave(
    cores: int,
    given: int,
    expected: int,
    folder: Path,
    pack: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.loading.usable_threads", lambda: cores)
    monkeypatch.setattr("serving.routes.available_cores", lambda: cores)
    with serving(folder, face_pack=pack, threads=given, max_images=4) as running:
        source = running.predictor.face_source
        assert isinstance(source, FaceAnalyzer)
        assert (source.workers, running.engine.threads) == (min(4, cores), expected)


def test_a_program_that_does_not_close_its_predictor_ends_well(
    folder: Path, pack: str, tmp_path: Path
) -> None:
    settings = settings_of(folder)
    (tmp_path / "photo.png").write_bytes(PHOTO)
    arguments = [str(settings["age_model"]), str(settings["gender_model"]), pack]
    code = f"""
import atexit, threading
atexit.register(lambda: print("network" in [each.name for each in threading.enumerate()]))
from serving import load_predictor
predictor = load_predictor(*{arguments})
print(len(predictor({str(tmp_path / "photo.png")!r})))
"""
    outcome = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "2\nFalse\n", "")


# --- what is missing, and what does not fit -------------------------------------------------------


@pytest.mark.parametrize("name", ["onnxruntime", "onnx", "cv2"])
def test_without_the_optional_packages_one_line_says_what_to_install(
    name: str, folder: Path, pack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(UserError, match=r"`pip install -r requirements-faces\.txt`") as caught,
        serving(folder, face_pack=pack),
    ):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["no_such_pack", "./nowhere"])
def test_a_pack_that_is_not_there_is_one_line(name: str, folder: Path) -> None:
    with pytest.raises(UserError, match=re.escape(name)), serving(folder, face_pack=name):
        pass


def test_a_pack_and_a_face_server_exclude_each_other(folder: Path, pack: str) -> None:
    with (
        pytest.raises(ConfigError, match=BOTH),
        serving(folder, face_pack=pack, face_server_url="http://127.0.0.1:10002/"),
    ):
        pass
    with pytest.raises(ConfigError, match=BOTH):
        load_predictor(face_pack=pack, face_server_url="http://127.0.0.1:10002/")


def test_models_trained_with_another_pack_are_warned_of_at_the_start(
    folder: Path, pack: str, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    gender = save_model(tmp_path / "gender.pth", 2, extractor={"Adience": {"model": "buffalo_l"}})
    line = "faces come from the network 'little', and gender.pth was trained with 'buffalo_l'"
    with serving(folder, face_pack=pack, gender_model=gender) as running:
        assert program_log.messages == [f"{line}: their ages and genders cannot be trusted"]
        assert running.test_client().get("/health").get_json()["faces"]["warning"] == line
        assert len(send_picture(running, PHOTO, "?mc_samples=0").get_json()["faces"]) == 2
    assert len(program_log.messages) == 1


def test_vectors_of_another_network_are_told_where_no_name_is_known(
    tmp_path: Path, pack: str, program_log: pytest.LogCaptureFixture
) -> None:
    known = {"embeddings": statistics_of(0), "extractor": {"imdb": {"server": "a container"}}}
    save_model(tmp_path / "age.pth", 101, 1, **known)
    save_model(tmp_path / "gender.pth", 2, 2, **known)
    with serving(tmp_path, face_pack=pack) as running:
        faces = send_picture(running, PHOTO, "?mc_samples=0").get_json()["faces"]
    assert [one["in_distribution"] for one in faces] == [False, False]
    assert program_log.messages == []


# --- the example of the documentation -------------------------------------------------------------


def test_the_example_of_the_documentation_runs(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    section = text.partition("## From Python")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    settings = settings_of(folder)
    (tmp_path / "models").mkdir()
    for name in ("age", "gender"):
        (tmp_path / "models" / f"{name}.pth").symlink_to(settings[f"{name}_model"])
    (tmp_path / "album").mkdir()
    for name in ("photo.jpg", "album/a.jpg", "album/b.jpg"):
        (tmp_path / name).write_bytes(PHOTO)
    (tmp_path / "album" / "c.jpg").write_bytes(PHOTO[:500])
    write_pack(tmp_path / ".insightface" / "models" / "buffalo_l")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(example, "docs/serving.md", "exec"), names)  # noqa: S102 - our own
    out = capsys.readouterr().out
    assert out.count("years") >= 2
    assert "album/c.jpg: truncated or damaged image" in out
