"""Bodies of POST /image: a form, JSON as clients of deepface's server send it, or the file itself.

Source: https://github.com/serengil/deepface, deepface/api; its clients of 2021 send a list.
"""

import re
from binascii import a2b_base64
from typing import Any

from flask import Request
from werkzeug.exceptions import BadRequest, UnsupportedMediaType

from serving.bodies import JSON_TYPE, whole_body
from utils.files import parse_json

FORM_TYPE = "multipart/form-data"
FILE_TYPES = "image/"
"""How the types begin whose body is the file; which format it is, its bytes say."""

FIELD = "image"
FIELDS = (FIELD, "img")
"""Of a form; the second is deepface's."""

KEYS = ("img", "img_path")
"""Of JSON: the second is what deepface's server called it for a while."""

EXPECTED = 'expected {"img": "data:image/jpeg;base64,..."}'
MAX_VALUES = 100
"""Of JSON: a picture and what deepface's clients say beside it is about ten."""

MAX_PREFIX = 200
"""Of a data URI, in characters."""

_BEFORE_VALUES = (b"[", b"{", b",")
_DATA_URI = re.compile(r"data:image/[a-z0-9.+-]+(;[a-z0-9.+-]+=[a-z0-9.+-]+)*;base64,", re.I)
_ADDRESS = re.compile(r"(?!data:)[a-z][a-z0-9+.-]+:", re.I)


def check_type(request: Request) -> None:
    """Refuse what cannot hold a picture, before anything of it is read.

    Raises:
        HTTPException: another Content-Type, or a form without the boundary that parts its fields.
    """
    if request.mimetype == JSON_TYPE or request.mimetype.startswith(FILE_TYPES):
        return
    if request.mimetype != FORM_TYPE:
        raise UnsupportedMediaType(
            f"Content-Type is {request.mimetype[:100]!r}, expected {FORM_TYPE} with a file in the "
            f"field '{FIELD}', {FILE_TYPES}jpeg (or another format) with the file as the body, or "
            f"{JSON_TYPE} with the file in base64"
        )
    if not request.mimetype_params.get("boundary"):
        raise BadRequest(
            f"Content-Type has no boundary, expected {FORM_TYPE}; boundary=...; let the "
            "HTTP library set it"
        )


def read_picture(request: Request) -> bytes:
    """Read the file in a body whose type `check_type` let pass.

    Raises:
        HTTPException: there is none.
    """
    if request.mimetype == JSON_TYPE:
        return _from_json(whole_body(request))
    if request.mimetype.startswith(FILE_TYPES):
        return whole_body(request)
    return _from_form(request)


def _from_form(request: Request) -> bytes:
    for name in FIELDS:
        uploaded = request.files.get(name)
        if uploaded is not None:
            content: bytes = uploaded.read()
            return content
    if FIELD in request.form:
        raise BadRequest(
            f"no file in the field '{FIELD}' but text; with curl: -F {FIELD}=@photo.jpg"
        )
    raise BadRequest(f"no file in the field '{FIELD}'; names of files in the form must be UTF-8")


def _from_json(body: bytes) -> bytes:
    content = _parsed(body)
    given = content if isinstance(content, dict) else {}
    found = [given[key] for key in KEYS if given.get(key) is not None]
    pictures = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    if len(pictures) != 1 or not isinstance(pictures[0], str):
        raise BadRequest(f"the body is not JSON with one picture in it, {EXPECTED}")
    return _decoded(pictures[0])


def _parsed(body: bytes) -> Any:
    """Parse JSON that is one long string beside a few short values, without much memory."""
    if sum(map(body.count, _BEFORE_VALUES)) > MAX_VALUES:  # none of them occurs in base64
        raise BadRequest(f"the body is JSON of more than {MAX_VALUES} values, {EXPECTED}")
    try:
        return parse_json(body)
    except ValueError as error:
        raise BadRequest(f"the body is no JSON to read: {str(error)[:100]}; {EXPECTED}") from None


def _decoded(text: str) -> bytes:
    """Decode base64, alone or in a data URI (RFC 2397); lines may be broken."""
    prefix = _DATA_URI.match(text[:MAX_PREFIX])
    encoded = text[prefix.end() :] if prefix else text
    try:
        return a2b_base64(encoded.replace("\r", "").replace("\n", ""), strict_mode=True)
    except ValueError:
        got = "an address" if _ADDRESS.match(text) else "a path or damaged base64"
        raise BadRequest(
            f"the picture is {got}, {EXPECTED}: the file itself, since this server opens nothing "
            "for a client"
        ) from None
