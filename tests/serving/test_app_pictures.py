import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_helpers import answering, face
from picture_files import entry, exif, in_jpeg
from PIL import Image
from serving_helpers import (
    JSON,
    NOWHERE,
    encoded,
    error_of,
    expected_of,
    form_of,
    grids,
    json_body,
    picture_json,
    post,
    send_picture,
    serving,
    vectors,
)
from werkzeug.test import TestResponse

from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from sample.grid_faces import GRID_SIZE
from sample.stand_in_server import SYNTHETIC_MODEL, Behaviour, StandInServer
from serving.routes import AgeGenderApp

GAP = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[AgeGenderApp]:
    """Serve beside a stand-in for the face server."""
    behaviour = Behaviour(model_name=SYNTHETIC_MODEL)
    with (
        StandInServer(behaviour=behaviour) as faces,
        serving(folder, face_server_url=faces.url, max_body_bytes=2**20) as running,
    ):
        yield running


def assert_faces(response: TestResponse, num_faces: int) -> list[Any]:
    assert response.status_code == 200, response.data
    faces: list[Any] = response.get_json()["faces"]
    assert len(faces) == num_faces
    return faces


def test_the_faces_of_a_picture_come_with_all_that_is_known_of_them(server: AgeGenderApp) -> None:
    picture = grids(2)
    content = send_picture(server, encoded(picture), "?mc_samples=0").get_json()
    assert (content["width"], content["height"]) == picture.size
    assert content["max_uncertainty"] == {
        "age": pytest.approx(np.log(101)),
        "gender": pytest.approx(np.log(2)),
    }
    assert content["model"] == SYNTHETIC_MODEL
    ages, genders = expected_of(vectors(2))
    step = GRID_SIZE[0] + GAP
    assert len(content["faces"]) == 2
    for number, found in enumerate(content["faces"]):
        left = GAP + number * step
        box = [left, GAP, left + GRID_SIZE[0], GAP + GRID_SIZE[1]]
        np.testing.assert_allclose(found["bbox"], box, atol=4)
        assert found["det_score"] == pytest.approx(0.9, abs=0.02)
        assert found["age"] == pytest.approx(float(ages[number]), abs=0.2)  # after compression
        assert found["gender"]["m"] == pytest.approx(float(genders[number, 0]), abs=0.05)
        assert found["gender"]["m"] + found["gender"]["f"] == pytest.approx(1, abs=1e-6)
        assert 0 < found["uncertainty"]["gender"] <= np.log(2)
        assert 0 < found["uncertainty"]["age"] <= np.log(101)
        assert found["in_distribution"] is None
        assert list(found) == [
            *("bbox", "det_score", "age", "gender", "uncertainty", "in_distribution"),
            *("age_interval", "gender_set", "covered", "over"),
        ]


def test_sixty_four_passes_are_the_default(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    original = server.engine.predict

    def predict(embeddings: Any, num_passes: int = 0) -> Any:
        counts.append(num_passes)
        return original(embeddings, num_passes)

    monkeypatch.setattr(server.engine, "predict", predict)
    for query in ("", "?mc_samples=7", "?mc_samples=0"):
        assert_faces(send_picture(server, encoded(grids(1)), query), 1)
    assert counts == [64, 7, 0]


def test_a_picture_without_a_face_has_none(server: AgeGenderApp) -> None:
    content = send_picture(server, encoded(grids(0))).get_json()
    assert content["faces"] == []
    assert (content["width"], content["height"]) == grids(0).size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "JPEG2000", "PPM"])
def test_every_format_that_extraction_reads_is_read(kind: str, server: AgeGenderApp) -> None:
    options = {"quality": 95} if kind in ("JPEG", "WEBP") else {}
    picture = grids(1)
    content = send_picture(server, encoded(picture, kind, **options), "?mc_samples=2").get_json()
    assert (content["width"], content["height"]) == picture.size
    assert len(content["faces"]) == 1


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P"])
def test_every_mode_is_read(mode: str, server: AgeGenderApp) -> None:
    assert_faces(send_picture(server, encoded(grids(1).convert(mode)), "?mc_samples=2"), 1)


TURNED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90,
          8: Image.Transpose.ROTATE_270}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
def test_boxes_are_those_of_the_picture_upright(orientation: int, server: AgeGenderApp) -> None:
    picture = grids(2)
    transposition = TURNED[orientation]
    stored = picture if transposition is None else picture.transpose(transposition)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = send_picture(server, encoded(stored, "JPEG", quality=95, exif=exif)).get_json()
    assert (content["width"], content["height"]) == picture.size
    assert len(content["faces"]) == 2
    box = [GAP, GAP, GAP + GRID_SIZE[0], GAP + GRID_SIZE[1]]
    np.testing.assert_allclose(content["faces"][0]["bbox"], box, atol=4)


def png(width: int, height: int, lines: bytes) -> bytes:
    """Write a PNG by hand, of 8-bit greys."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def text_bomb() -> bytes:
    """Write a small PNG whose text unfolds to 100 MB."""
    text = b"comment\x00\x00" + zlib.compress(bytes(100_000_000), 9)
    whole = encoded(Image.new("L", (8, 8)))
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + text))
    return whole[:33] + chunk + whole[33:]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGED = {
    "empty": b"",
    "text": b"This is no picture.",
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "JPEG cut off": cut(encoded(Image.new("RGB", (300, 300)), "JPEG")),
    "PNG cut off": cut(encoded(Image.effect_noise((300, 300), 50))),
    "start of a JPEG": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "PNG without its lines": png(100, 100, b""),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_picture_or_a_damaged_one_is_400(name: str, server: AgeGenderApp) -> None:
    error_of(send_picture(server, DAMAGED[name]), 400)
    assert_faces(send_picture(server, encoded(grids(1)), "?mc_samples=2"), 1)


def test_text_that_unfolds_is_passed_over(server: AgeGenderApp) -> None:
    assert_faces(send_picture(server, text_bomb(), "?mc_samples=2"), 0)


def test_odd_metadata_is_passed_over(server: AgeGenderApp) -> None:
    numbers = exif(entry(0x010F, 5, 1, b"\0\0\0\x26"), entry(0x0112, 3, 1, b"\0\6\0\0"))
    turned = encoded(grids(1).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=95)
    odd = in_jpeg(turned, b"Exif\0\0" + numbers + bytes(8))
    response = send_picture(server, odd, "?mc_samples=2")
    assert_faces(response, 1)
    assert (response.get_json()["width"], response.get_json()["height"]) == grids(1).size
    assert_faces(send_picture(server, odd[:-2], "?mc_samples=2"), 1)


@pytest.mark.parametrize("error", [AttributeError("x"), RuntimeError("x"), OSError("x")])
def test_whatever_a_picture_raises_is_400(
    error: Exception, server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
        error_of(send_picture(server, encoded(grids(1))), 400)
    assert_faces(send_picture(server, encoded(grids(1)), "?mc_samples=2"), 1)


def test_heic_is_named_with_the_remedy(server: AgeGenderApp) -> None:
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)
    text = error_of(send_picture(server, heic), 400)
    assert "HEIC image" in text
    assert "convert it to JPEG" in text


HUGE = {
    "zip bomb": png(30_000, 30_000, zlib.compress(bytes(30_001 * 1000), 9)),
    "just a header": png(2**31 - 1, 2**31 - 1, b""),
    "100 megapixels of PNG": encoded(Image.new("1", (10_000, 10_000))),
    "100 megapixels of JPEG": encoded(Image.new("L", (12_500, 8_000)), "JPEG", quality=10),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_picture_is_413_and_never_decoded(name: str, server: AgeGenderApp) -> None:
    content = HUGE[name] if len(HUGE[name]) < 2**20 else HUGE[name][: 2**20 - 1000]
    assert "too large" in error_of(send_picture(server, content), 413)
    assert_faces(send_picture(server, encoded(grids(1)), "?mc_samples=2"), 1)


def test_a_body_that_is_not_as_expected_is_refused(server: AgeGenderApp) -> None:
    client = server.test_client()
    picture = encoded(grids(1))
    text = "no file in the field 'image'"
    assert text in error_of(send_picture(server, picture, field="photo"), 400)
    assert text in error_of(client.post("/image", data={"image": "abc"}, content_type=FORM), 400)
    assert text in error_of(client.post("/image", data=b"", content_type=FORM), 400)
    assert text in error_of(
        client.post("/image", data=b"x", content_type=f"{FORM}; boundary=y"), 400
    )
    for kind in ("application/x-www-form-urlencoded", "application/octet-stream", "text/plain", ""):
        response = client.post("/image", data=picture, content_type=kind)
        assert "expected multipart/form-data" in error_of(response, 415)


FORM = "multipart/form-data"


@pytest.mark.parametrize("kind", ["image/jpeg", JSON, f"{FORM}; boundary=y"])
def test_a_body_of_any_type_that_is_too_long_or_compressed_is_refused(
    kind: str, server: AgeGenderApp
) -> None:
    client = server.test_client()
    long = client.post("/image", data=bytes(2**20 + 1), content_type=kind)
    assert "at most 1,048,576 bytes" in error_of(long, 413)
    headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
    packed = client.post("/image", data=gzip.compress(b"x"), headers=headers)
    assert "not compressed" in error_of(packed, 415)


def test_the_answer_is_the_same_however_the_picture_is_sent(server: AgeGenderApp) -> None:
    picture = encoded(grids(2))
    forms = (form_of(picture), (picture, "image/png"), (picture_json(picture), JSON))
    answers = [
        server.test_client().post("/image?mc_samples=0", data=body, content_type=kind).get_json()
        for body, kind in forms
    ]
    assert len(answers[0]["faces"]) == 2
    assert answers[0] == answers[1] == answers[2]


def test_half_a_form_is_no_picture(server: AgeGenderApp) -> None:
    whole, kind = form_of(encoded(grids(1)))
    client = server.test_client()
    assert_faces(client.post("/image", data=whole, content_type=kind), 1)
    for length in (3, 50, 80, len(whole) // 2, len(whole) - 9):
        error_of(client.post("/image", data=whole[:length], content_type=kind), 400)


def test_a_form_of_thousands_of_parts_is_refused(server: AgeGenderApp) -> None:
    part = b'--y\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    kind = f"{FORM}; boundary=y"
    response = server.test_client().post("/image", data=part * 5000 + b"--y--", content_type=kind)
    assert "1,000 parts" in error_of(response, 413)


def test_a_picture_gets_no_more_passes_than_the_server_allows(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        serving(folder, max_mc_samples=3) as running,
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)], None)),
    ):
        asked: list[int] = []
        predict = running.engine.predict

        def listen(embeddings: Any, num_passes: int) -> Any:
            asked.append(num_passes)
            return predict(embeddings, num_passes)

        monkeypatch.setattr(running.engine, "predict", listen)
        assert_faces(send_picture(running, encoded(grids(1))), 1)
    assert asked == [3]


@pytest.mark.parametrize("query", ["?mc_samples=x", "?normalize=1", "?answer=2022"])
def test_a_query_that_is_not_understood_is_refused(query: str, server: AgeGenderApp) -> None:
    error_of(send_picture(server, encoded(grids(1)), query), 400)


# --- the face server ------------------------------------------------------------------------------


def test_a_face_server_that_is_away_is_503_and_says_where_it_was_looked_for(folder: Path) -> None:
    with serving(folder) as running:
        text = error_of(send_picture(running, encoded(grids(1))), 503)
        assert text.startswith(f"the face server at {NOWHERE} is away: ")
        assert post(running, json_body(vectors(1))).status_code == 200


@pytest.mark.parametrize(
    ("behaviour", "complaint"),
    [
        (Behaviour(garbage_every=1), "gave no faces: answer not understood"),
        (Behaviour(fail_every=1), "gave no faces: HTTP 503"),
    ],
)
def test_a_face_server_that_answers_nonsense_is_503(
    behaviour: Behaviour, complaint: str, folder: Path
) -> None:
    with (
        StandInServer(behaviour=behaviour) as faces,
        serving(folder, face_server_url=faces.url) as running,
    ):
        assert complaint in error_of(send_picture(running, encoded(grids(1))), 503)


@pytest.mark.parametrize(
    "error", [ServerAwayError("no answer within 20 s"), AnswerError("not HTTP", "x")]
)
def test_every_failure_of_the_face_server_is_503(
    error: Exception, server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> FaceAnswer:
        raise error

    with answering(monkeypatch, fail):
        assert str(error) in error_of(send_picture(server, encoded(grids(1))), 503)


def test_a_picture_that_the_face_server_cannot_use_is_400(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(monkeypatch, lambda *_: FaceAnswer(None, None)):
        assert "cannot use" in error_of(send_picture(server, encoded(grids(1))), 400)


def test_faces_come_from_left_to_right_and_a_model_that_is_not_named_is_null(
    server: AgeGenderApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    lefts = (50.0, 10.0, 30.0)
    faces = [face(seed) for seed in range(3)]
    for found, left in zip(faces, lefts, strict=True):
        found.bbox[:] = [left, 1, left + 5, 6]

    def answer(_: FaceServer, __: bytes) -> FaceAnswer:
        return FaceAnswer(faces, None)

    with answering(monkeypatch, answer):
        content = send_picture(
            server, encoded(Image.new("RGB", (640, 640))), "?mc_samples=0"
        ).get_json()
    assert [found["bbox"][0] for found in content["faces"]] == [10, 30, 50]
    assert content["model"] is None
    ages, _ = expected_of(np.stack([faces[number].embedding for number in (1, 2, 0)]))
    np.testing.assert_allclose([found["age"] for found in content["faces"]], ages, atol=1e-3)


def test_a_crowd_times_passes_has_the_limit_of_other_requests(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = FaceAnswer([face(seed) for seed in range(5)], None)
    with (
        serving(folder, max_mc_passes=100) as running,
        answering(monkeypatch, lambda *_: crowd),
    ):
        picture = encoded(Image.new("RGB", (64, 64)))
        assert "5 faces x 64 passes" in error_of(send_picture(running, picture), 413)
        assert_faces(send_picture(running, picture, "?mc_samples=20"), 5)
