import json
import signal
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_analyzer import FakeAnalyzer, fake_face, png
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_packs import BOX, CELL, as_file, picture, write_pack
from PIL import Image
from werkzeug.test import TestResponse

from face_networks.analyzer import FaceAnalyzer
from face_networks.detection import MAX_FACES
from face_server import __main__ as program
from face_server.app import LARGE_BODY_BYTES, create_app
from faces.client import FaceAnswer
from faces.wire import encode_request
from faces.wire_decode import MAX_ANSWER_BYTES, decode_answer
from faces.wire_request import MAX_BODY_BYTES
from utils.errors import UserError

FAKE = FakeAnalyzer([fake_face(0), fake_face(1)])


def client_of(analyzer: FakeAnalyzer) -> FlaskClient:
    return create_app(analyzer).test_client()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """A client of a server that runs tiny networks."""
    pack = write_pack(tmp_path_factory.mktemp("packs") / "white_cells")
    with FaceAnalyzer(str(pack), "cpu", workers=2) as analyzer:
        yield create_app(analyzer).test_client()


def post(client: FlaskClient, image: bytes) -> TestResponse:
    return client.post("/", data=encode_request(image), content_type="application/json")


def test_faces_come_back_in_order_with_the_name_of_the_model() -> None:
    answer = post(client_of(FAKE), png())
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    content = decode_answer(answer.data)
    assert content.model == "fake"
    assert content.faces is not None
    assert len(content.faces) == 2
    for face, expected in zip(content.faces, FAKE.faces, strict=True):
        np.testing.assert_array_equal(face.bbox, expected.bbox)
        np.testing.assert_array_equal(face.landmark, expected.landmark)
        np.testing.assert_array_equal(face.embedding, expected.embedding)
        assert face.det_score == expected.det_score


def test_numbers_have_the_dtypes_of_the_container() -> None:
    (face,) = json.loads(post(client_of(FakeAnalyzer([fake_face(0)])), png()).data)[
        "face_detection_recognition"
    ]
    assert list(face) == ["bbox", "det_score", "landmark", "normed_embedding"]
    states = [face[name]["py/reduce"][2]["py/tuple"] for name in ("bbox", "normed_embedding")]
    names = [dtype["py/reduce"][1]["py/tuple"][0] for _, _, dtype, _, _ in states]
    assert names == ["f8", "f4"]
    assert face["det_score"]["py/reduce"][1]["py/tuple"][0] == {"py/id": 4}
    assert face["landmark"]["py/reduce"][2]["py/tuple"][2] == {"py/id": 4}


def test_the_picture_sent_reaches_the_networks_as_it_is() -> None:
    analyzer = FakeAnalyzer()
    large = bytes(LARGE_BODY_BYTES)
    for image in (png(), b"", large):
        post(client_of(analyzer), image)
    assert analyzer.seen == [png(), b"", large]


def test_boxes_are_in_pixels_of_the_picture_sent(client: FlaskClient) -> None:
    wide = picture((10, 10), (11, 10), (10, 11), (11, 11), size=(2 * 640, 640))
    (face,) = decode_answer(post(client, as_file(wide)).data).faces or []
    corner = np.array([10, 10 + 10, 10, 10 + 10]) / 2
    expected = (corner + np.array(BOX) * (-1, -1, 1, 1)) * CELL * 2 - (0, 320, 0, 320)
    np.testing.assert_allclose(face.bbox, expected, atol=1e-3)


def test_a_picture_without_a_face_has_an_empty_list(client: FlaskClient) -> None:
    assert decode_answer(post(client, png()).data).faces == []


WHITE: dict[str, Any] = {"L": 255, "P": 255, "RGBA": (255,) * 4, "CMYK": (0,) * 4}


@pytest.mark.parametrize("mode", WHITE)
def test_a_picture_that_is_not_rgb_is_used_all_the_same(mode: str, client: FlaskClient) -> None:
    image = Image.new(mode, (640, 640))
    if mode == "P":
        image.putpalette(bytes(3 * 255) + bytes((255,) * 3))
    elif mode == "CMYK":
        image.paste((0, 0, 0, 255), (0, 0, 640, 640))
    image.paste(WHITE[mode], (CELL, CELL, 2 * CELL, 2 * CELL))
    answer = post(client, as_file(image, "TIFF"))
    assert len(decode_answer(answer.data).faces or []) == 1


def many_pixels(width: int, height: int) -> bytes:
    """Take a small PNG and let its header tell another size."""
    content = bytearray(png())
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


NO_PICTURES = {
    "empty": b"",
    "text": b"not an image",
    "truncated": png((640, 640))[:400],
    "truncated at the right size": png((640, 640))[:-30],
    "100 megapixels": many_pixels(10_000, 10_000),
    "a bomb": many_pixels(2**31 - 1, 2**31 - 1),
    "a line": png((1, 10_001)),
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "a pickle": b"cos\nsystem\n(S'touch executed'\ntR.",
}


@pytest.mark.parametrize("image", NO_PICTURES.values(), ids=NO_PICTURES.keys())
def test_a_picture_that_cannot_be_used_is_answered_with_null(
    image: bytes, client: FlaskClient
) -> None:
    answer = post(client, image)
    assert (answer.status_code, decode_answer(answer.data).faces) == (200, None)


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), MemoryError()])
def test_whatever_a_picture_raises_is_answered_with_null(
    error: Exception, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
        answer = post(client, png())
        assert (answer.status_code, decode_answer(answer.data).faces) == (200, None)
    assert decode_answer(post(client, png()).data).faces == []


def test_boxes_of_a_tiff_that_its_metadata_turns_are_of_the_file_as_it_lies(
    client: FlaskClient,
) -> None:
    stream = BytesIO()
    options = Image.Exif()
    options[0x0112] = 6
    picture((4, 9)).save(stream, "TIFF", exif=options)
    (face,) = decode_answer(post(client, stream.getvalue()).data).faces or []
    corner = np.array([4, 9, 4, 9])
    expected = (corner + np.array(BOX) * (-1, -1, 1, 1)) * CELL
    np.testing.assert_allclose(face.bbox, expected, atol=1e-3)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'"[]"', b'"{\\"image\\": {\\"py/type\\": \\"os\\"}}"']
)
def test_a_body_that_is_no_request_is_refused_and_the_next_one_answered(body: bytes) -> None:
    client = client_of(FAKE)
    answer = client.post("/", data=body)
    assert answer.status_code == 400
    assert "expected a JSON string" in answer.get_json()["error"]
    assert post(client, png()).status_code == 200


def test_a_body_over_the_limit_is_refused() -> None:
    answer = client_of(FAKE).post("/", data=b"x" * (MAX_BODY_BYTES + 1))
    assert answer.status_code == 413
    assert list(answer.get_json()) == ["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 405), ("PUT", "/", 405), ("GET", "/x", 404)]
)
def test_other_addresses_and_methods_are_refused(method: str, path: str, status: int) -> None:
    answer = client_of(FAKE).open(path, method=method)
    assert answer.status_code == status
    assert list(answer.get_json()) == ["error"]


def test_health_names_the_model_and_what_it_runs_on() -> None:
    answer = client_of(FAKE).get("/health")
    expected = {"status": "ok", "model": "fake", "device": "cpu", "workers": 1}
    assert (answer.status_code, answer.get_json()) == (200, expected)


class Failing(FakeAnalyzer):
    def ask(self, image: bytes) -> FaceAnswer:
        raise RuntimeError("numbers of a face")


def test_an_error_of_the_networks_tells_nothing_of_the_picture(
    program_log: pytest.LogCaptureFixture,
) -> None:
    client = client_of(Failing())
    answer = post(client, png())
    assert answer.status_code == 500
    assert answer.get_json() == {"error": "the picture could not be analysed"}
    assert "RuntimeError at test_face_server.py:" in program_log.text
    assert "numbers of a face" not in program_log.text
    assert "Traceback" not in program_log.text


class Meeting(FakeAnalyzer):
    """Answers once two pictures are there."""

    barrier = threading.Barrier(2)

    def ask(self, image: bytes) -> FaceAnswer:
        self.barrier.wait(60)
        return super().ask(image)


def test_pictures_are_analysed_at_the_same_time() -> None:
    analyzer = Meeting()
    app = create_app(analyzer)
    threads = [threading.Thread(target=post, args=(app.test_client(), png())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(analyzer.seen) == 2


def test_the_fullest_answer_is_one_that_clients_read() -> None:
    answer = post(client_of(FakeAnalyzer([fake_face(0)] * MAX_FACES)), png())
    assert len(answer.data) < MAX_ANSWER_BYTES
    assert len(decode_answer(answer.data).faces or []) == MAX_FACES


@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=20))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_and_any_picture_is_answered(
    client: FlaskClient, noise: bytes, place: int, added: bytes
) -> None:
    assert client.post("/", data=noise).status_code in (200, 400)
    whole = png()
    mutated = whole[:place] + added + whole[place + len(added) :]
    for image in (noise, mutated):
        answer = post(client, image)
        assert answer.status_code == 200
        decode_answer(answer.data)


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments([f"--port={port}"])
    assert f"{port!r} is no port" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--workers", "--threads"])
@pytest.mark.parametrize("number", ["0", "-1", "1025", "x"])
def test_a_number_of_workers_or_threads_that_is_none_is_refused(
    option: str, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments([f"{option}={number}"])
    assert "expected 1 to 1024" in capsys.readouterr().err


def test_the_options_reach_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(*options: Any) -> None:
        asked.extend(options)
        raise UserError("enough")

    monkeypatch.setattr(program, "FaceAnalyzer", refuse)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(UserError, match="enough"):
        program.main(["--pack=p", "--device=cuda", "--workers=3", "--threads=2"])
    assert asked == ["p", "cuda", 3, 2]


def test_a_port_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "FaceAnalyzer", lambda *_: nullcontext(FAKE))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            program.main(["--port", str(port)])


@pytest.mark.parametrize(
    ("host", "url"), [("127.0.0.1", "http://127.0.0.1:7/"), ("::1", "http://[::1]:7/")]
)
def test_the_address_is_told_as_clients_take_it(
    host: str, url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "FaceAnalyzer", lambda *_: nullcontext(FAKE))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "_listener", lambda *_: nullcontext())
    stopped = SimpleNamespace(effective_port=7, run=lambda: None)
    monkeypatch.setattr(program, "create_server", lambda *_, **__: stopped)
    program.main(["--host", host])
    assert capsys.readouterr().out.endswith(f"on {url}\n")
