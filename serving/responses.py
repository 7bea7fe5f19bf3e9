"""Responses in JSON, and the headers that every response of the server carries."""

import re
from typing import Any

import orjson
from flask import Response, request

ALLOWED_HEADERS = "Content-Type"
EXPOSED_HEADERS = "Retry-After"
PREFLIGHT_AGE_S = 600
"""How long a browser may keep what a preflight answered."""

TO_THE_SLASH = "'sha256-fVuRDD+oWWNlFQyLvT0H4WZPpVqV7/OxcoTH/X6mg98='"
"""Of the script in index.html that adds the slash at the end of an address: the page's other
addresses are relative to it."""

HEADERS = {
    "Content-Security-Policy": f"default-src 'self'; script-src 'self' {TO_THE_SLASH}; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Permissions-Policy": "camera=(self), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535


def json_response(content: Any, status: int = 200) -> Response:
    """Write plain values and numpy arrays as JSON."""
    text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, status, mimetype="application/json")


def error_response(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Write an error in JSON: what was wrong and what was expected."""
    response = json_response({"error": message}, status)
    response.headers.update(headers or {})
    return response


def read_origins(text: str) -> frozenset[str]:
    """Read origins, separated by commas or spaces, into the form in which browsers send them.

    Raises:
        ValueError: one of them is none, or "*" or "null", which would let any page in.

    >>> sorted(read_origins("https://Faces.example:443, http://localhost:3000"))
    ['http://localhost:3000', 'https://faces.example']
    """
    return frozenset(_origin(part) for part in text.replace(",", " ").split())


def _origin(text: str) -> str:
    parts = _ORIGIN.fullmatch(text.lower())
    if parts is None or int(parts[3] or 0) > _MAX_PORT:
        got = "a user and a password" if "@" in text else repr(text[:100])
        raise ValueError(
            f"holds {got}, expected scheme://host or scheme://host:port, "
            "such as https://faces.example, without path or slash at the end, separated by commas; "
            "each one is named, there is no * for all"
        )
    scheme, host, port = parts.groups()
    is_default = port is None or int(port) == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


class CrossOrigin:
    """The headers by which a browser lets pages of the allowed origins read an answer.

    Source: CORS, fetch.spec.whatwg.org. No cookie or login goes with such requests:
    Access-Control-Allow-Credentials is never sent.

    >>> CrossOrigin("").headers("http://a")
    {}
    >>> CrossOrigin("http://a").headers("http://b")
    {'Vary': 'Origin'}
    """

    def __init__(self, allowed_origins: str) -> None:
        self._allowed = read_origins(allowed_origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return what every answer carries, those of errors too."""
        if not self._allowed:
            return {}
        if origin not in self._allowed:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": str(origin),
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        }

    def preflight(self, origin: str | None, methods: str) -> dict[str, str]:
        """Return what the answer to OPTIONS carries, by which a browser asks before it sends."""
        if origin not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
        }

    def with_headers(self, response: Response) -> Response:
        """Add all headers to the response to Flask's present request."""
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.update(self.headers(request.origin))
        if request.method == "OPTIONS":
            allowed = response.headers.get("Allow", "")
            response.headers.update(self.preflight(request.origin, allowed))
        return response
