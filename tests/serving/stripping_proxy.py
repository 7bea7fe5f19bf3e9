"""A proxy as people put in front of the server: it strips a prefix off the path, or answers 404."""

from collections.abc import Callable, Iterable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

NOT_PASSED_ON = ("connection", "keep-alive", "transfer-encoding")


class StrippingProxy:
    """A WSGI application that asks another server for what lies below a prefix.

    Args:
        prefix: as in "/faces".
        url: of the server behind.
    """

    def __init__(self, prefix: str, url: str) -> None:
        self._prefix, self._address = prefix, urlsplit(url).netloc
        self.asked: list[str] = []

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        self.asked.append(path)
        if path != self._prefix and not path.startswith(f"{self._prefix}/"):
            start_response("404 Not Found", [("Content-Type", "text/html")])
            return [b"<html>not below the prefix</html>"]
        query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
        target = (path.removeprefix(self._prefix) or "/") + query
        return self._pass_on(environ, target, start_response)

    def _pass_on(
        self, environ: dict[str, Any], target: str, start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        headers = {"Content-Type": environ.get("CONTENT_TYPE") or "", "Host": self._address}
        if origin := environ.get("HTTP_ORIGIN"):
            headers["Origin"] = origin
        connection = HTTPConnection(self._address, timeout=20)
        try:
            connection.request(environ["REQUEST_METHOD"], target, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        passed = [pair for pair in answer.getheaders() if pair[0].lower() not in NOT_PASSED_ON]
        start_response(f"{answer.status} {answer.reason}", passed)
        return [content]
