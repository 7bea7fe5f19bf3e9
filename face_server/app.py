"""The two addresses of the server: a picture to POST /, and GET /health."""

import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from faces.client import FaceAnswer
from faces.wire_request import MAX_BODY_BYTES, RequestBodyError, decode_request
from utils.body_encoding import refusal_of_encoding
from utils.log import get_logger

logger = get_logger("face_server")

LARGE_BODY_BYTES = 2**20


class Analyzer(Protocol):
    """What is served: a `face_networks.analyzer.FaceAnalyzer`."""

    model: str
    device: str
    workers: int

    def ask(self, image: bytes) -> FaceAnswer:
        """Find and embed the faces of an encoded picture; threads ask at once."""


def create_app(analyzer: Analyzer) -> Flask:
    """Make the WSGI application; serve it behind a server that reads a body before it calls."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # Large bodies are read one at a time, always by the same thread: memory that another one freed
    # may stay with that one.
    large_reader = ThreadPoolExecutor(1)

    def picture() -> bytes:
        stream = request.stream
        if (request.content_length or 0) <= LARGE_BODY_BYTES:
            return decode_request(stream.read())
        return large_reader.submit(lambda: decode_request(stream.read())).result()

    @app.before_request
    def refuse_encoding() -> None:
        refusal = refusal_of_encoding(request.content_encoding)
        if refusal is not None:
            raise UnsupportedMediaType(refusal)

    @app.post("/")
    def analyse() -> Response:
        answer = analyzer.ask(picture())  # null is final: a client that gets HTTP 500 asks again
        return Response(answer.encoded(), mimetype="text/html")

    @app.get("/health")
    def health() -> Response:
        named = {"model": analyzer.model, "device": analyzer.device, "workers": analyzer.workers}
        return jsonify(status="ok", **named)

    app.register_error_handler(RequestBodyError, _refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _failed)
    return app


def _refused(error: RequestBodyError) -> tuple[Response, int]:
    return jsonify(error=str(error)), 400


def _http_error(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description), error.code or 500


def _failed(error: Exception) -> tuple[Response, int]:
    """Answer an error of the program; the log tells its kind and place, nothing else."""
    cause = error.__cause__ or error
    place = traceback.extract_tb(cause.__traceback__)[-1]
    logger.error(f"{type(cause).__name__} at {Path(place.filename).name}:{place.lineno}")
    return jsonify(error="the picture could not be analysed"), 500
