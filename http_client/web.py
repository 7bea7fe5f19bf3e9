"""Files of the web, asked for through proxies and over redirects.

On urllib.request, not on `http_client.client`: that asks the server that was named and no other,
while a download goes through the proxies that the shell names (HTTPS_PROXY, NO_PROXY), and follows
redirects, as those of GitHub's releases.
"""

import socket
import ssl
import urllib.request
from collections.abc import Iterator
from http import HTTPStatus
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from http_client.errors import AnswerError, ServerAwayError
from http_client.reply import BUSY, Reply
from http_client.tls import client_context, tls_error
from utils.text import cut

_SILENCE_S = 30.0
_CHUNK_BYTES = 2**18
_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}


def chunks(response: HTTPResponse) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come; they may end before the whole has come.

    Raises:
        ServerAwayError: nothing comes any more, or the connection breaks.
    """
    try:
        while chunk := response.read1(_CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise _away(error, "") from None


def open_url(opener: urllib.request.OpenerDirector, url: str, start: int) -> HTTPResponse:
    """Ask for a file from its byte `start` on.

    Raises:
        ServerAwayError: no answer came.
        AnswerError: it is refused.
    """
    headers = {"User-Agent": "age-gender", "Accept-Encoding": "identity"}
    headers |= {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - no opener of file: URLs
    try:
        response: HTTPResponse = opener.open(request, timeout=_SILENCE_S)
        return response
    except HTTPError as error:
        with error:
            raise _refused(url, error) from None
    except (InvalidURL, ValueError):  # not of ours, which was read before
        raise AnswerError("redirected to what is no address", is_temporary=False) from None
    except (OSError, HTTPException) as error:
        raise _away(error, urlsplit(url).hostname or "") from None


def _refused(url: str, error: HTTPError) -> AnswerError:
    headers = {name.title(): text for name, text in error.headers.items()}
    reply = Reply(url, error.code, headers, b"")
    phrase = _printable(error.msg) if error.code in _REDIRECTS else reply.phrase
    is_temporary = error.code in BUSY or error.code == HTTPStatus.INTERNAL_SERVER_ERROR
    return AnswerError(f"HTTP {error.code}", phrase, is_temporary, reply.retry_after_s or 0.0)


def _away(error: OSError | HTTPException, host: str) -> ServerAwayError:
    """Return why there is no answer; the place that a redirect names stays hidden: it has keys."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
        return tls_error(reason, host)
    if isinstance(reason, TimeoutError):
        return ServerAwayError(f"silence for {_SILENCE_S:g} s")
    if isinstance(reason, socket.gaierror):
        return ServerAwayError(f"the name {host} is not known", is_final=True)
    if isinstance(reason, HTTPException):
        return ServerAwayError(_printable(reason) or type(reason).__name__)
    text = reason.strerror if isinstance(reason, OSError) else None
    return ServerAwayError(text or str(reason) or type(reason).__name__)


def _printable(said: object) -> str:
    """Write what a server said: nothing in it steers the terminal."""
    return cut(str(said).encode("unicode_escape").decode(), 200)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and none away from https."""

    max_redirections = max_repeats = _MAX_REDIRECTS
    inf_msg = "redirected too often: "

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the request for the new place."""
        schemes = {"https"} if req.type == "https" else {"http", "https"}
        if urlsplit(newurl).scheme not in schemes:
            raise HTTPError(req.full_url, code, "redirected away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def url_opener() -> urllib.request.OpenerDirector:
    """Make what asks for URLs of http and https, and of nothing else."""
    opener = urllib.request.OpenerDirector()
    handlers: list[Any] = [
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=client_context()),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirects(),
    ]
    for handler in handlers:
        opener.add_handler(handler)
    return opener
