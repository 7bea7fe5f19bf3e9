import json
import signal
import socket
import sys
import threading
import zlib
from collections.abc import Sequence
from contextlib import nullcontext
from io import BytesIO
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_analysis import FakeAnalysis, FakeFace, fake_face, png
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from werkzeug.test import TestResponse

from face_server import __main__ as program
from face_server.analysis import MAX_FACES, PackError, check, load_pack, model_name
from face_server.app import create_app
from faces.wire import encode_request
from faces.wire_decode import MAX_ANSWER_BYTES, decode_answer
from faces.wire_request import MAX_BODY_BYTES
from utils.errors import UserError

FAKE = FakeAnalysis([fake_face(0), fake_face(1)])


def client_of(analysis: FakeAnalysis) -> FlaskClient:
    return create_app(analysis, "fake").test_client()


def post(client: FlaskClient, image: bytes) -> TestResponse:
    return client.post("/", data=encode_request(image), content_type="application/json")


def test_faces_come_back_in_order_with_the_name_of_the_model() -> None:
    answer = post(client_of(FAKE), png((640, 640)))
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    content = decode_answer(answer.data)
    assert content.model == "fake"
    assert content.faces is not None
    assert len(content.faces) == 2
    for face, expected in zip(content.faces, FAKE.faces, strict=True):
        np.testing.assert_array_equal(face.bbox, expected.bbox)
        np.testing.assert_array_equal(face.landmark, expected.kps)
        np.testing.assert_array_equal(face.embedding, expected.normed_embedding)
        assert face.det_score == expected.det_score


def test_numbers_have_the_dtypes_of_the_container() -> None:
    (face,) = json.loads(post(client_of(FakeAnalysis([fake_face(0)])), png()).data)[
        "face_detection_recognition"
    ]
    assert list(face) == ["bbox", "det_score", "landmark", "normed_embedding"]
    states = [face[name]["py/reduce"][2]["py/tuple"] for name in ("bbox", "normed_embedding")]
    names = [dtype["py/reduce"][1]["py/tuple"][0] for _, _, dtype, _, _ in states]
    assert names == ["f8", "f4"]
    assert face["det_score"]["py/reduce"][1]["py/tuple"][0] == {"py/id": 4}
    assert face["landmark"]["py/reduce"][2]["py/tuple"][2] == {"py/id": 4}


def test_the_networks_see_blue_first_on_a_square() -> None:
    analysis = FakeAnalysis()
    post(client_of(analysis), png((100, 50), (200, 100, 10)))
    (seen,) = analysis.seen
    assert seen.shape == (640, 640, 3)
    assert seen.dtype == np.uint8
    assert seen[320, 320].tolist() == [10, 100, 200]
    assert seen[100, 320].tolist() == [0, 0, 0]


def test_boxes_and_landmarks_are_in_pixels_of_the_picture_sent() -> None:
    answer = post(client_of(FakeAnalysis([fake_face(0)])), png((1280, 640)))
    (face,) = decode_answer(answer.data).faces or []
    np.testing.assert_allclose(face.bbox, [200, 400 - 320, 600, 800 - 320])
    np.testing.assert_allclose(face.landmark, 2 * fake_face(0).kps - [0, 320], rtol=1e-6)


def test_a_picture_without_a_face_has_an_empty_list() -> None:
    assert decode_answer(post(client_of(FakeAnalysis()), png()).data).faces == []


@pytest.mark.parametrize(
    ("mode", "color"), [("L", 90), ("P", 3), ("RGBA", (1, 2, 3, 255)), ("CMYK", (1, 2, 3, 4))]
)
def test_a_picture_that_is_not_rgb_is_used_all_the_same(mode: str, color: Any) -> None:
    answer = post(client_of(FAKE), png(color=color, mode=mode))
    assert len(decode_answer(answer.data).faces or []) == 2


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
def test_a_picture_that_cannot_be_used_is_answered_with_null(image: bytes) -> None:
    analysis = FakeAnalysis([fake_face(0)])
    answer = post(client_of(analysis), image)
    assert (answer.status_code, decode_answer(answer.data).faces) == (200, None)
    assert analysis.seen == []


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), MemoryError()])
def test_whatever_a_picture_raises_is_answered_with_null(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    client = client_of(FAKE)
    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
        answer = post(client, png())
        assert (answer.status_code, decode_answer(answer.data).faces) == (200, None)
    assert decode_answer(post(client, png()).data).faces


def test_boxes_of_a_tiff_that_its_metadata_turns_are_of_the_file_as_it_lies() -> None:
    stream = BytesIO()
    options = Image.Exif()
    options[0x0112] = 6
    Image.new("RGB", (1280, 640)).save(stream, "TIFF", exif=options)
    answer = post(client_of(FakeAnalysis([fake_face(0)])), stream.getvalue())
    (face,) = decode_answer(answer.data).faces or []
    np.testing.assert_allclose(face.bbox, [200, 400 - 320, 600, 800 - 320])


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


def test_health_names_the_model() -> None:
    answer = client_of(FAKE).get("/health")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok", "model": "fake"})


class Failing(FakeAnalysis):
    def get(self, img: NDArray[np.uint8], max_num: int) -> Sequence[FakeFace]:
        raise RuntimeError("numbers of a face")


def test_an_error_of_the_networks_tells_nothing_of_the_picture(
    program_log: pytest.LogCaptureFixture,
) -> None:
    client = client_of(Failing())
    for _ in range(2):  # no lock is left held
        answer = post(client, png())
        assert answer.status_code == 500
        assert answer.get_json() == {"error": "the picture could not be analysed"}
    assert "RuntimeError at test_face_server.py:" in program_log.text
    assert "numbers of a face" not in program_log.text
    assert "Traceback" not in program_log.text


class Meeting(FakeAnalysis):
    """Notes whether two calls are under way at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.barrier, self.met = threading.Barrier(2), False

    def get(self, img: NDArray[np.uint8], max_num: int) -> Sequence[FakeFace]:
        try:
            self.barrier.wait(0.2)
            self.met = True
        except threading.BrokenBarrierError:
            self.barrier.reset()
        return super().get(img, max_num)


def test_one_picture_is_analysed_at_a_time() -> None:
    analysis = Meeting()
    app = create_app(analysis, "fake")
    threads = [threading.Thread(target=post, args=(app.test_client(), png())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(analysis.seen) == 2
    assert not analysis.met


def test_the_fullest_answer_is_one_that_clients_read() -> None:
    crowd = FakeAnalysis([fake_face(0)] * (MAX_FACES + 1))
    answer = post(client_of(crowd), png())
    assert len(answer.data) < MAX_ANSWER_BYTES
    assert len(decode_answer(answer.data).faces or []) == MAX_FACES


@given(st.binary(max_size=200), st.integers(0, 200), st.binary(max_size=20))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_body_and_any_picture_is_answered(noise: bytes, place: int, added: bytes) -> None:
    client = client_of(FAKE)
    assert client.post("/", data=noise).status_code in (200, 400)
    picture = png()
    mutated = picture[:place] + added + picture[place + len(added) :]
    for image in (noise, mutated):
        answer = post(client, image)
        assert answer.status_code == 200
        decode_answer(answer.data)


class Package(ModuleType):
    """Stands for the package insightface.app."""

    def __init__(self, make: Any) -> None:
        super().__init__("insightface.app")
        self.FaceAnalysis = make


def install(monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    monkeypatch.setitem(sys.modules, "insightface", ModuleType("insightface"))
    monkeypatch.setitem(sys.modules, "insightface.app", Package(make) if make else None)


def test_a_pack_is_loaded_for_the_processor_with_the_two_networks_that_are_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[dict[str, Any]] = []

    class Made(FakeAnalysis):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            calls.append(options)

        def prepare(self, **options: Any) -> None:
            calls.append(options)

    install(monkeypatch, Made)
    load_pack("some_pack")
    made, prepared = calls
    assert made["name"] == "some_pack"
    assert made["providers"] == ["CPUExecutionProvider"]
    assert set(made["allowed_modules"]) == {"detection", "recognition"}
    assert prepared == {"ctx_id": -1, "det_size": (640, 640)}


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Failed downloading url x")])
def test_a_pack_that_cannot_be_loaded_is_one_line_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(**_: Any) -> None:
        raise error

    install(monkeypatch, fail)
    reason = str(error) or "no detector in it"
    with pytest.raises(
        PackError, match=f"'bad_pack' cannot be loaded: {reason}; expected a folder"
    ):
        load_pack("bad_pack")


def test_without_insightface_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, None)
    with pytest.raises(PackError, match=r"pip install -r face_server/requirements\.txt"):
        load_pack("buffalo_l")


def test_a_folder_that_is_missing_is_not_taken_for_the_name_of_a_pack() -> None:
    with pytest.raises(PackError, match="packs/none: no such folder"):
        load_pack("packs/none")


def test_a_pack_has_to_have_landmarks_and_512_numbers() -> None:
    check(FakeAnalysis(), "good")
    with pytest.raises(PackError, match="finds no landmarks"):
        check(FakeAnalysis(use_kps=False), "bad")
    with pytest.raises(PackError, match="embeddings of 128 numbers, 512 were expected"):
        check(FakeAnalysis(width=128), "bad")
    without = FakeAnalysis()
    del without.models["recognition"]
    with pytest.raises(PackError, match="no model for recognition"):
        check(without, "bad")


@pytest.mark.parametrize("name", ["a\nb", "x" * 201, "/"])
def test_a_name_that_no_answer_can_hold_is_refused(name: str) -> None:
    with pytest.raises(PackError, match="give it a plain name"):
        model_name(name)


@pytest.mark.parametrize("port", ["-1", "65536", "x", ""])
def test_a_port_that_is_none_is_refused(port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        program.parse_arguments([f"--port={port}"])
    assert f"{port!r} is no port" in capsys.readouterr().err


def test_a_port_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "load_pack", lambda _: FAKE)
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
    monkeypatch.setattr(program, "load_pack", lambda _: FAKE)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "_listener", lambda *_: nullcontext())
    stopped = SimpleNamespace(effective_port=7, run=lambda: None)
    monkeypatch.setattr(program, "create_server", lambda *_, **__: stopped)
    program.main(["--host", host])
    assert capsys.readouterr().out.endswith(f"on {url}\n")
