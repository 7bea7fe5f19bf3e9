"""A picture in JSON as deepface's clients send it, or as the body itself; forms are tested with
the application."""

import base64
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from serving_helpers import JSON, form_of, picture_json
from werkzeug.exceptions import HTTPException
from werkzeug.test import EnvironBuilder

from serving.picture_bodies import MAX_VALUES, check_type, read_picture
from serving.routes import InMemoryRequest

PICTURE = bytes(range(256)) * 3
BASE64 = base64.b64encode(PICTURE).decode()


def read(body: bytes, kind: str = JSON) -> bytes:
    request = InMemoryRequest(EnvironBuilder("/image", data=body, content_type=kind).get_environ())
    check_type(request)
    return read_picture(request)


def with_img(value: Any, **others: Any) -> bytes:
    return json.dumps({"img": value, **others}).encode()


READ: dict[str, Callable[[], bytes]] = {
    "a data URI": lambda: picture_json(PICTURE),
    "another format": lambda: picture_json(PICTURE, "data:image/png;base64,"),
    "capitals and a parameter": lambda: picture_json(PICTURE, "DATA:Image/JPEG;name=a.jpg;BASE64,"),
    "bare base64": lambda: picture_json(PICTURE, ""),
    "broken lines": lambda: with_img(base64.encodebytes(PICTURE).decode()),
    "lines of Windows": lambda: with_img(BASE64[:76] + "\r\n" + BASE64[76:]),
    "slashes as PHP writes them": lambda: with_img(BASE64).replace(b"/", rb"\/"),
    "deepface's clients of 2021": lambda: with_img([f"data:image/jpeg;base64,{BASE64}"]),
    "the key of 2023": lambda: json.dumps({"img_path": BASE64}).encode(),
    "a key that is null": lambda: with_img(BASE64, img_path=None),
    "all that deepface knows": lambda: with_img(
        BASE64,
        actions=["age", "gender", "emotion", "race"],
        detector_backend="retinaface",
        enforce_detection=False,
        align=True,
        expand_percentage=0,
        silent=True,
        anti_spoofing=False,
        max_faces=None,
    ),
    "others": lambda: with_img(BASE64, model_name="Facenet", x={"y": [1, None, 2.5, ""]}),
}


@pytest.mark.parametrize("name", READ)
def test_what_deepface_clients_send_is_read(name: str) -> None:
    assert read(READ[name]()) == PICTURE


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "image/webp", "IMAGE/JPG; q=1"])
def test_the_body_of_any_type_of_picture_is_the_file(kind: str) -> None:
    assert read(PICTURE, kind) == PICTURE


def test_the_name_of_deepface_for_the_field_of_a_form_is_taken() -> None:
    assert read(*form_of(PICTURE, "img")) == PICTURE


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("https://example.org/a.jpg", "is an address"),
        ("file:///etc/passwd", "is an address"),
        ("/etc/passwd.jpg", "is a path or damaged base64"),
        ("dataset/img1.jpg", "is a path or damaged base64"),
        (BASE64[:-1], "damaged base64"),
        (BASE64 + "A", "damaged base64"),
        (BASE64[:8] + "=" + BASE64[8:], "damaged base64"),
        (" " + BASE64, "damaged base64"),
        ("b'" + BASE64 + "'", "damaged base64"),
        (BASE64 + "\ud800", "damaged base64"),
        (BASE64 + "\u00e9", "damaged base64"),
        ("," + BASE64, "damaged base64"),
        ("data:text/plain;base64," + BASE64, "damaged base64"),
        ("data:image/jpeg," + BASE64, "damaged base64"),
        ("data:image/" + "x" * 10_000 + ";base64," + BASE64, "damaged base64"),
    ],
)
def test_an_address_a_path_and_damaged_base64_are_refused_and_not_repeated(
    value: str, complaint: str
) -> None:
    with pytest.raises(HTTPException, match=complaint) as refusal:
        read(with_img(value))
    assert refusal.value.code == 400
    text = str(refusal.value)
    assert "this server opens nothing for a client" in text
    assert len(text) < 250
    assert BASE64[:20] not in text
    assert "passwd" not in text


def nested(depth: int) -> bytes:
    return b'{"img":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff\xfe{", "no JSON"),
        (with_img(BASE64)[:-2], "no JSON"),
        (b'{"img": NaN}', "one picture"),
        (b'{"img": "QUJD", "img": "QUJD"}', "names the key 'img' twice"),
        (b'{"img": "QUJD", "x": {"a": 1, "a": 1}}', "names the key 'a' twice"),
        (b'{"x": ' + b"9" * 100_000 + b"}", "no JSON"),
        (nested(MAX_VALUES - 1), "nested more than 64 deep"),
        (nested(9), "one picture"),
        (nested(MAX_VALUES), "more than 100 values"),
        (nested(1_000_000), "more than 100 values"),
        (b'{"img": [' + b"1," * 1_000_000 + b"1]}", "more than 100 values"),
        (b'"QUJD"', "one picture"),
        (b'["QUJD"]', "one picture"),
        (b"null", "one picture"),
        (b"{}", "one picture"),
        (b'{"image": "QUJD"}', "one picture"),
        (b'{"img": "QUJD", "img_path": "QUJD"}', "one picture"),
        (with_img(["QUJD", "QUJD"]), "one picture"),
        (with_img([["QUJD"]]), "one picture"),
        (with_img([]), "one picture"),
        (with_img({"img": "QUJD"}), "one picture"),
        (with_img(5), "one picture"),
    ],
)
def test_json_without_one_picture_is_refused(body: bytes, complaint: str) -> None:
    with pytest.raises(HTTPException, match=complaint) as refusal:
        read(body)
    assert refusal.value.code == 400
    assert '{"img": "data:image/jpeg;base64,..."}' in str(refusal.value)
    assert len(str(refusal.value)) < 250


@pytest.mark.parametrize("kind", ["application/octet-stream", "text/plain", "", "imageX/jpeg"])
def test_other_types_are_refused_with_all_that_are_taken(kind: str) -> None:
    with pytest.raises(HTTPException, match="expected multipart/form-data with") as no:
        read(PICTURE, kind)
    assert no.value.code == 415
    assert all(each in str(no.value) for each in ("field 'image'", "image/jpeg", JSON))


@pytest.mark.parametrize("filler", [b"A", b"\\/", b"\\n", b"=", b"[1", b'"":0,'])
def test_the_memory_of_a_large_body_is_a_few_times_its_length(filler: bytes) -> None:
    body = b'{"img": "' + filler * (2**20 // len(filler)) + b'"}'
    tracemalloc.start()
    try:
        read(body)
    except HTTPException as refusal:
        assert refusal.code == 400  # noqa: PT017 - some of these are pictures in base64
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5 * len(body)
