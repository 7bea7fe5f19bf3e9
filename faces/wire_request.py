"""Read requests to a face server: one closed form, matched as text; no name in it is looked up."""

import binascii
import json
import re

from faces.wire import BYTES, IMAGE_KEY
from utils.errors import UserError

MAX_BODY_BYTES = 16 * 2**20
"""A picture of 12 MiB, which base64 makes a third longer."""

_SPACE = "[ \t\r\n]*"
_TOKENS = (
    r"\{",
    f'"{IMAGE_KEY}"',
    ":",
    r"\{",
    f'"{BYTES}"',
    ":",
    '"([A-Za-z0-9+/=]*)"',
    r"\}",
    r"\}",
)
_FORM = re.compile(_SPACE.join(("", *_TOKENS, "")))
_EXPECTED = f'expected a JSON string that holds {{"{IMAGE_KEY}": {{"{BYTES}": base64 of a file}}}}'


class RequestBodyError(UserError):
    """A request is not what the client of a face server sends."""


def decode_request(body: bytes) -> bytes:
    r"""Take the file of a picture out of a request.

    No JSON but the outer string is parsed, so that a body cannot become a tree that takes many
    times its memory.

    Raises:
        RequestBodyError: the body is anything else than what `faces.wire.encode_request` makes,
            white space between the JSON's tokens aside.

    >>> decode_request(b'"{\\"image\\": {\\"py/b64\\": \\"YWJj\\"}}"')
    b'abc'
    """
    form = _FORM.fullmatch(_string(body))
    if form is None:
        raise RequestBodyError(f"the JSON string holds something else; {_EXPECTED}")
    try:
        return binascii.a2b_base64(form[1], strict_mode=True)
    except binascii.Error as error:
        raise RequestBodyError(f"the image is not base64 ({error}); {_EXPECTED}") from None


def _string(body: bytes) -> str:
    """Read JSON that is one string; anything else is refused before it is parsed."""
    if not body.lstrip(b" \t\r\n").startswith(b'"'):
        raise RequestBodyError(f"the body is not a JSON string; {_EXPECTED}")
    try:
        text = json.loads(body)
    except ValueError:  # not UTF-8, or not JSON
        raise RequestBodyError(f"the body is not JSON; {_EXPECTED}") from None
    if not isinstance(text, str):
        raise RequestBodyError(f"the body is not a JSON string; {_EXPECTED}")
    return text
