"""The two addresses of the server: a picture to POST /, and GET /health."""

import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, UnsupportedMediaType

from face_server.analysis import Analysis, find_faces, read_square
from faces.errors import ImageError
from faces.wire import encode_faces
from faces.wire_request import MAX_BODY_BYTES, RequestBodyError, decode_request
from utils.body_encoding import refusal_of_encoding
from utils.log import get_logger

logger = get_logger("face_server")


def create_app(analysis: Analysis, model: str) -> Flask:
    """Make the WSGI application; serve it behind a server that reads a body before it calls.

    Args:
        analysis: of insightface.
        model: name of its pack, which every answer names.
    """
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    # One picture is decoded at a time, always by the same thread: memory that another one freed
    # may stay with that one. The networks use all processors, and are not made for two calls.
    reader, analysing = ThreadPoolExecutor(1), threading.Lock()

    @app.before_request
    def refuse_encoding() -> None:
        refusal = refusal_of_encoding(request.content_encoding)
        if refusal is not None:
            raise UnsupportedMediaType(refusal)

    @app.post("/")
    def analyse() -> Response:
        try:
            stream = request.stream
            square = reader.submit(lambda: read_square(decode_request(stream.read()))).result()
        except ImageError:  # null is final: a client that gets HTTP 500 asks again
            return Response(encode_faces(None, model=model), mimetype="text/html")
        with analysing:
            faces = find_faces(analysis, *square)
        return Response(encode_faces(faces, model=model), mimetype="text/html")

    @app.get("/health")
    def health() -> Response:
        return jsonify(status="ok", model=model)

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
    place = traceback.extract_tb(error.__traceback__)[-1]
    logger.error(f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}")
    return jsonify(error="the picture could not be analysed"), 500
