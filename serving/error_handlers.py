"""Every error is answered in JSON, without a stack trace."""

import traceback

from flask import Response, request
from werkzeug.exceptions import HTTPException, NotFound, RequestEntityTooLarge

from faces.client import AnswerError, ServerAwayError
from faces.errors import TOO_LARGE, ImageError
from faces.wire_request import RequestBodyError
from serving.engine import ClosedError
from serving.responses import error_response
from serving.routes import AgeGenderApp
from utils.addresses import server_url
from utils.log import get_logger

ADDRESSES = (
    "POST / takes embeddings, POST /image and POST /faces a picture, GET /health tells the models, "
    "GET /openapi.json describes all; a proxy must strip its prefix"
)
KEPT_HEADERS = ("Allow", "Retry-After")

logger = get_logger("server")


def add_error_handlers(app: AgeGenderApp) -> None:
    """Register how each kind of error is answered."""
    settings = app.settings
    limit, source = settings.max_body_bytes, "the face pack of this server"
    if not settings.face_pack:
        source = f"the face server at {server_url(settings.face_server_url)}"

    def without_faces(error: Exception) -> Response:
        problem = "is away" if isinstance(error, ServerAwayError) else "gave no faces"
        return error_response(f"{source} {problem}: {error}", 503)

    app.register_error_handler(HTTPException, lambda error: _answer_http_error(error, limit))
    app.register_error_handler(ImageError, _answer_image_error)
    app.register_error_handler(RequestBodyError, lambda error: error_response(str(error), 400))
    app.register_error_handler(ServerAwayError, without_faces)
    app.register_error_handler(AnswerError, without_faces)
    app.register_error_handler(ClosedError, lambda error: error_response(str(error), 503))
    app.register_error_handler(Exception, _answer_failure)


def _answer_image_error(error: ImageError) -> Response:
    return error_response(str(error), 413 if error.reason == TOO_LARGE else 400)


def _answer_http_error(error: HTTPException, limit: int) -> Response:
    headers = {name: value for name, value in error.get_headers() if name in KEPT_HEADERS}
    message = str(error.description)
    if error.description == type(error).description:  # raised by Flask, which knows no more
        message = _explain(error, limit)
    return error_response(message, error.code or 400, headers)


def _explain(error: HTTPException, limit: int) -> str:
    if isinstance(error, RequestEntityTooLarge):
        return f"the body is too large, at most {limit:,} bytes and 1,000 parts of a form"
    if isinstance(error, NotFound):
        return f"there is no {request.path[:100]!r} here; {ADDRESSES}"
    return f"{error.name}: {error.description}"


def _answer_failure(error: Exception) -> Response:
    """Log where, and not what: messages may hold numbers of a face."""
    frames = reversed(traceback.extract_tb(error.__traceback__)[-3:])
    lines = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in frames)
    logger.error(f"{type(error).__name__} at {lines}")
    return error_response("the server failed on this request; it goes on with others", 503)
