"""Every error is answered in JSON, without a stack trace."""

import traceback

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from serving.engine import ClosedError
from serving.pictures import FaceServerError
from serving.requests import BodyError, BusyError
from serving.responses import error_response
from utils.log import get_logger

RETRY_AFTER = {"Retry-After": "1"}
ADDRESSES = (
    "POST / takes embeddings, POST /image a picture, GET /health tells the models; "
    "a proxy must strip its prefix"
)

logger = get_logger("server")


def add_error_handlers(app: Flask) -> None:
    """Say how each kind of error is answered."""
    app.register_error_handler(BodyError, _refused)
    app.register_error_handler(BusyError, _busy)
    app.register_error_handler(FaceServerError, _unavailable)
    app.register_error_handler(ClosedError, _unavailable)
    app.register_error_handler(413, lambda _: _too_large(app.config["MAX_CONTENT_LENGTH"]))
    app.register_error_handler(404, _not_found)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _failed)


def _refused(error: BodyError) -> Response:
    return error_response(str(error), error.status)


def _busy(error: BusyError) -> Response:
    return error_response(f"busy: {error}; try again", 429, RETRY_AFTER)


def _unavailable(error: Exception) -> Response:
    return error_response(str(error), 503)


def _too_large(limit: int) -> Response:
    return error_response(
        f"the body is too large, at most {limit:,} bytes and 1,000 parts of a form", 413
    )


def _not_found(_: HTTPException) -> Response:
    return error_response(f"there is no {request.path[:100]!r} here; {ADDRESSES}", 404)


def _http_error(error: HTTPException) -> Response:
    headers = {name: value for name, value in error.get_headers() if name == "Allow"}
    return error_response(f"{error.name}: {error.description}", error.code or 400, headers)


def _failed(error: Exception) -> Response:
    """Log where, and not what: messages may hold numbers of a face."""
    lines = [
        f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
    ]
    logger.error(f"{type(error).__name__} at {' < '.join(reversed(lines[-3:]))}")
    return error_response("the server failed on this request; it goes on with others", 503)
