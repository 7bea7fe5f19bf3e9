"""Bodies of POST /: three forms, one array of faces; whatever else is sent is refused.

JSON, `{"embeddings": [[512 numbers], ...]}`; the original project's clients' JSON string that holds
a pickle, read without running it; and raw little-endian float32.
"""

import base64
import binascii
import gc
import threading
from typing import Any

import numpy as np
import orjson
from flask import Request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from serving.embeddings import Embeddings, EmbeddingsError, of_unit_length, to_float32
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE
from utils.legacy.pickles import load_pickle

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"

MAX_OPCODES = 1000
"""Of a pickled array, which takes about fifty, whatever its size."""

NUMBERS = (int, float)
EXPECTED = f'{{"embeddings": [[{EMBEDDING_SIZE} numbers], ...]}}'
_parsing = threading.Lock()
"""A nested list takes twenty times the memory of its array: one at a time. Reading it holds the
interpreter anyway, so that nothing is slower for it."""


def whole_body(request: Request) -> bytes:
    """Read the body; without a copy under waitress, which has all of it, and within its limit."""
    if "waitress.client_disconnected" in request.environ:
        whole: bytes = request.environ["wsgi.input"].read()
        return whole
    return request.get_data(cache=False)


def read_embeddings(body: bytes, content_type: str, max_faces: int, normalize: bool) -> Embeddings:
    """Read the faces of a request.

    Args:
        body: all of it.
        content_type: media type without parameters, in lower case.
        max_faces: more are refused.
        normalize: bring vectors to unit length; else those of another length are refused.

    Returns:
        (N, 512) float32 of unit length; N may be 0.

    Raises:
        HTTPException: the body holds anything else.
    """
    if content_type not in (BINARY_TYPE, JSON_TYPE):
        raise UnsupportedMediaType(
            f"Content-Type is {content_type[:100]!r}, expected {JSON_TYPE} or {BINARY_TYPE}"
        )
    try:
        embeddings = _from_binary(body) if content_type == BINARY_TYPE else _from_json(body)
        if len(embeddings) > max_faces:
            most = f"at most {max_faces:,} a request"
            raise RequestEntityTooLarge(f"{len(embeddings):,} faces, {most}")
        return of_unit_length(embeddings, "?normalize=1 accepts other lengths", normalize)
    except EmbeddingsError as error:
        raise BadRequest(str(error)) from None


def _from_binary(body: bytes) -> Embeddings:
    width = EMBEDDING_SIZE * 4
    if len(body) % width:
        raise BadRequest(
            f"{len(body):,} bytes, expected a multiple of {width:,}: {EMBEDDING_SIZE} "
            "little-endian float32 numbers a face"
        )
    return np.frombuffer(body, "<f4").reshape(-1, EMBEDDING_SIZE).astype(np.float32)


def _from_json(body: bytes) -> Embeddings:
    with _parsing:
        content = _parsed(body)
        if isinstance(content, str):
            return _from_original(content)
        if not isinstance(content, dict) or "embeddings" not in content:
            raise BadRequest(f"expected {EXPECTED}, got {_kind(content)}")
        return _from_lists(content["embeddings"], _may_hold_other_values(body))


def _parsed(text: bytes | str) -> Any:
    if not text:
        raise BadRequest(f"the body is empty, expected {EXPECTED}")
    gc.disable()  # which would look through millions of new lists again and again
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"the body is no JSON: {error.msg[:100]}, at character {error.pos:,}"
        ) from None
    finally:
        gc.enable()


def _may_hold_other_values(body: bytes) -> bool:
    """Look for true, false, and strings beside the one key.

    numpy would take true and false for numbers, and give every number the room of a string.
    """
    return b"true" in body or b"false" in body or body.count(b'"') > 2


def _from_lists(content: Any, may_hold_other_values: bool) -> Embeddings:
    if not isinstance(content, list):
        raise BadRequest(f"embeddings is {_kind(content)}, expected a list; {EXPECTED}")
    if not content:
        return np.empty((0, EMBEDDING_SIZE), np.float32)
    rows = content if isinstance(content[0], list) else [content]
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != EMBEDDING_SIZE:
            raise BadRequest(
                f"face {number} is {_kind(row)}, expected {EMBEDDING_SIZE} numbers; {EXPECTED}"
            )
    if may_hold_other_values and any(type(value) not in NUMBERS for row in rows for value in row):
        raise BadRequest(f"a face holds something else than numbers; expected {EXPECTED}")
    try:
        numbers = np.array(rows)
    except (ValueError, OverflowError):
        numbers = np.array(None)
    return to_float32(numbers)


def _kind(value: Any) -> str:
    """Describe a JSON value without repeating it."""
    if value is None:
        return "null"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, dict):
        return "an object without the key" if "embeddings" not in value else "an object"
    return {bool: "true or false", str: "a string"}.get(type(value), "a number")


def _from_original(text: str) -> Embeddings:
    expected = 'expected {"embeddings": {"py/b64": base64 of a pickled float32 array}}'
    content = _parsed(text)
    try:
        encoded = content["embeddings"]["py/b64"]
        pickled = base64.b64decode(encoded, validate=True)
    except (TypeError, KeyError, IndexError, ValueError, binascii.Error):
        raise BadRequest(
            f"the JSON string in the body is not as in 2021 and 2022: {expected}"
        ) from None
    try:
        array = load_pickle(pickled, MAX_OPCODES)
    except UserError as error:
        raise BadRequest(f"the pickle in the body is refused: {error}") from None
    if not isinstance(array, np.ndarray) or array.ndim not in (1, 2):
        raise BadRequest(f"the pickle holds no array of shape (n, {EMBEDDING_SIZE})")
    if array.size == 0:
        return np.empty((0, EMBEDDING_SIZE), np.float32)
    return to_float32(np.atleast_2d(array))
