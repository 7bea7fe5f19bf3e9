import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faces.wire import encode_request
from faces.wire_request import MAX_BODY_BYTES, RequestBodyError, decode_request


def twice(content: Any, **options: Any) -> bytes:
    return json.dumps(json.dumps(content, **options)).encode()


@pytest.mark.parametrize("image", [b"", b"a", b"ab", b"abc", bytes(range(256))])
def test_what_the_client_sends_is_read(image: bytes) -> None:
    assert decode_request(encode_request(image)) == image


@pytest.mark.parametrize("options", [{"indent": 2}, {"separators": (",", ":")}])
def test_white_space_between_the_tokens_does_not_matter(options: dict[str, Any]) -> None:
    body = b" \n" + twice({"image": {"py/b64": "YWJj"}}, **options) + b"\r\n"
    assert decode_request(body) == b"abc"


RUN = {"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["touch executed"]}]}
NO_REQUESTS = {
    "nothing": b"",
    "half": encode_request(b"abc")[:-5],
    "a number": b"1",
    "a list": b"[1, 2]",
    "an object, once encoded": json.dumps({"image": {"py/b64": "YWJj"}}).encode(),
    "two strings": b'"a" "b"',
    "not UTF-8": b'"\xff"',
    "deep": b"[" * 100_000,
    "deep, twice encoded": json.dumps("[" * 100_000).encode(),
    "a string in a string": twice("x"),
    "no image": twice({}),
    "an image that is a string": twice({"image": "YWJj"}),
    "null": twice({"image": None}),
    "a number for base64": twice({"image": {"py/b64": 1}}),
    "another key": twice({"picture": {"py/b64": "YWJj"}}),
    "one key more": twice({"image": {"py/b64": "YWJj"}, "more": 1}),
    "one key more inside": twice({"image": {"py/b64": "YWJj", "py/id": 0}}),
    "a call": twice({"image": RUN}),
    "a call beside the image": twice({"image": {"py/b64": "YWJj"}, "x": RUN}),
    "an object": twice({"image": {"py/object": "subprocess.Popen", "args": ["touch executed"]}}),
    "a type": twice({"image": {"py/type": "os.system"}}),
    "a representation": twice({"image": {"py/repr": "os/os.system('touch executed')"}}),
    "base64 without its end": twice({"image": {"py/b64": "YWJjZ"}}),
    "base64 with more behind its end": twice({"image": {"py/b64": "YQ==YQ=="}}),
    "no base64": twice({"image": {"py/b64": "YW_-"}}),
    "base64 with spaces": twice({"image": {"py/b64": "YW Jj"}}),
}


@pytest.mark.parametrize("body", NO_REQUESTS.values(), ids=NO_REQUESTS.keys())
def test_anything_else_is_refused_in_one_line_that_says_what_is_expected(body: bytes) -> None:
    with pytest.raises(RequestBodyError, match=r"expected a JSON string that holds") as error:
        decode_request(body)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 250


@given(
    st.binary(max_size=40),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 3), st.binary(max_size=4)), max_size=3),
)
@settings(max_examples=500, deadline=None)
def test_a_mutated_request_gives_what_json_gives_or_one_error(
    image: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    body = encode_request(image)
    for place, num_dropped, added in changes:
        body = body[:place] + added + body[place + num_dropped :]
    try:
        found = decode_request(body)
    except RequestBodyError:
        assert changes
        return
    content = json.loads(json.loads(body))
    assert list(content) == ["image"]
    assert list(content["image"]) == ["py/b64"]
    assert found == base64.b64decode(content["image"]["py/b64"], validate=True)


@pytest.mark.parametrize("content", [b" ", b"A", b"{", b"[", b"\\\\"])
def test_a_body_of_the_largest_size_is_refused_whatever_it_repeats(content: bytes) -> None:
    body = b'"' + content * ((MAX_BODY_BYTES - 2) // len(content)) + b'"'
    with pytest.raises(RequestBodyError):
        decode_request(body)
