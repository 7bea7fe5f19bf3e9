"""What a client asks an HTTP server, and what it gets."""

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urljoin

BUSY = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.BAD_GATEWAY,  # a proxy in front of a server that starts, or works for long
    HTTPStatus.GATEWAY_TIMEOUT,
}
LONGEST_WAIT_S = 30.0
_MAX_LOCATION = 200


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered to a request of a URL; names of headers are as Retry-After."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def phrase(self) -> str:
        """Return the status in words, and where it sends on to.

        >>> Reply("http://a/", 301, {"Location": "/b/"}, b"").phrase
        'Moved Permanently, to http://a/b/; give that address if it is the right one'
        >>> Reply("http://a/", 404, {}, b"").phrase, Reply("http://a/", 999, {}, b"").phrase
        ('Not Found', 'unknown status')
        """
        with suppress(ValueError):
            phrase = HTTPStatus(self.status).phrase
            location = self._location()
            return (
                f"{phrase}, to {location}; give that address if it is the right one"
                if location
                else phrase
            )
        return "unknown status"

    def _location(self) -> str:
        """Return where a redirect points; "" for what should not be shown."""
        text = self.headers.get("Location", "")
        is_shown = text.isascii() and text.isprintable() and "@" not in text
        if not (300 <= self.status < 400 and text and is_shown and len(text) <= _MAX_LOCATION):
            return ""
        with suppress(ValueError):
            return urljoin(self.url, text)
        return ""

    @property
    def retry_after_s(self) -> float | None:
        """Seconds to wait before the next try, if the server says so; at most LONGEST_WAIT_S.

        >>> Reply("http://a/", 503, {"Retry-After": "5"}, b"").retry_after_s
        5.0
        """
        text = self.headers.get("Retry-After", "")
        if text.isascii() and text.isdecimal():
            return min(float(text), LONGEST_WAIT_S)
        with suppress(ValueError, OverflowError):
            left_s = parsedate_to_datetime(text).timestamp() - time.time()
            return min(max(left_s, 0.0), LONGEST_WAIT_S)
        return None


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask.

    Attributes:
        target: path and query.
        max_bytes: a longer answer is refused.
    """

    method: str
    target: str
    max_bytes: int
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
