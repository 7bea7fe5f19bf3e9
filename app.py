"""Serve ages and genders of faces over HTTP; docs/serving.md describes requests and answers.

python app.py                     serves with waitress, ready for use
flask --app app run -p 10003      serves with Flask's development server
"""

import atexit
import traceback
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import click
import numpy as np
from flask import Flask, Request, Response, request
from werkzeug.exceptions import HTTPException

from faces.client import FaceServer
from serving.answers import NO_FACES, answer, error_response, json_response
from serving.bodies import BodyError, read_embeddings
from serving.engine import ClosedError, Engine
from serving.form import check_form, read_picture
from serving.guess import Prediction
from serving.headers import with_headers
from serving.http_server import serve
from serving.limits import BusyError, Gate
from serving.models import choose_mc_dtype, choose_served_device, load_pair
from serving.origins import CrossOrigin
from serving.pictures import FaceServerError, look_at
from serving.query import IMAGE_QUERY, Query, check_passes, read_query
from serving.settings import Settings, read_settings, settings_from_arguments
from utils.body_encoding import refusal_of_encoding
from utils.cli import run
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE
from utils.log import get_logger
from utils.runtime import limited_threads

IMAGE_MC_SAMPLES = 64
HEALTH_TIMEOUT_S = 10.0
RETRY_AFTER = {"Retry-After": "1"}
ADDRESSES = (
    "POST / takes embeddings, POST /image a picture, GET /health tells the models; "
    "a proxy must strip its prefix"
)
DUMMY = np.full((1, EMBEDDING_SIZE), EMBEDDING_SIZE**-0.5, np.float32)

logger = get_logger("server")


class InMemoryRequest(Request):
    """Keeps uploaded pictures in memory: nothing of a face touches a disk."""

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return BytesIO()


class Server(Flask):
    """The application, and what its requests share."""

    request_class = InMemoryRequest

    def __init__(self, settings: Settings):
        super().__init__("app", static_folder=str(Path(__file__).parent / "serving" / "static"))
        device = choose_served_device(settings.device)
        mc_dtype = choose_mc_dtype(settings.mc_precision, device)
        self.settings = settings
        with limited_threads(1):  # a second thread that had helpers would make the engine's slow
            self.pair = load_pair(settings.age_model, settings.gender_model, device, mc_dtype)
        self.engine = Engine(self.pair, settings.threads)
        self.face_server = FaceServer(settings.face_server_url, settings.face_timeout_s)
        self.requests, self.pictures = Gate(settings.max_queue), Gate(settings.max_images)
        self.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
        self.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
        self.url_map.merge_slashes = self.url_map.strict_slashes = False  # no redirects
        atexit.register(self.close)

    def close(self) -> None:
        """Finish what is under way, and stop the threads; the program's end does so too."""
        atexit.unregister(self.close)
        self.engine.close()
        self.face_server.close()

    def answer_faces(self) -> Response:
        """Answer POST /: ages and genders of embeddings.

        Raises:
            BodyError: the request is not one of those of docs/serving.md.
            BusyError: too many are worked on.
        """
        with self.requests.entered():
            query = read_query(request.args, self.settings.max_mc_samples)
            embeddings = read_embeddings(
                _body(), request.mimetype, self.settings.max_faces, query.normalize
            )
            check_passes(len(embeddings), query.mc_samples, self.settings.max_mc_passes)
            if not len(embeddings):
                return json_response(answer(NO_FACES, query))
            prediction = self.engine.predict(embeddings, query.mc_samples)
            if query.strict:
                _refuse_foreign(prediction)
            return json_response(answer(prediction, query))

    def answer_picture(self) -> Response:
        """Answer POST /image: the faces of a picture.

        Raises:
            BodyError: the request is not one of those of docs/serving.md.
            BusyError: too many are worked on.
            FaceServerError: the face server gives no faces.
        """
        most = self.settings.max_mc_samples
        default = Query(min(IMAGE_MC_SAMPLES, most))
        query = read_query(request.args, most, IMAGE_QUERY, default)
        check_form(request)
        with self.pictures.entered():
            picture = read_picture(request)
            content = look_at(
                picture, self.face_server, self.engine, query.mc_samples, self.settings
            )
        return json_response(content)

    def answer_health(self) -> Response:
        """Answer GET /health: both models are there and answer a dummy vector."""
        self.engine.predict(DUMMY, timeout_s=HEALTH_TIMEOUT_S)
        pair, settings = self.pair, self.settings
        return json_response(
            {
                "status": "ok",
                "models": {"age": pair.age.describe(), "gender": pair.gender.describe()},
                "device": str(pair.device),
                "limits": {
                    name: getattr(settings, name)
                    for name in ("max_body_bytes", "max_faces", "max_mc_samples", "max_mc_passes")
                },
                "face_server_url": settings.face_server_url,
            }
        )


def _refuse_encoding() -> None:
    refusal = refusal_of_encoding(request.content_encoding)
    if refusal is not None:
        raise BodyError(refusal, 415)


def _body() -> bytes:
    """Read the body; without a copy under waitress, which has all of it, and within its limit."""
    if "waitress.client_disconnected" in request.environ:
        whole: bytes = request.environ["wsgi.input"].read()
        return whole
    return request.get_data(cache=False)


def _refuse_foreign(prediction: Prediction) -> None:
    foreign = [number for number, is_known in enumerate(prediction.verdicts()) if is_known is False]
    if foreign:
        raise BodyError(
            f"{len(foreign):,} of the vectors, the first that of face {foreign[0]}, are not of the "
            "network whose embeddings the models were trained on; use that one, or models trained "
            "on this one",
            422,
        )


def create_app(config: Mapping[str, Any] | Settings | None = None) -> Server:
    """Load the models and make the application.

    Args:
        config: settings by name, see `serving.settings.Settings`; the others come from the
            environment. Or all settings, as read.

    Raises:
        UserError: a setting or a model is wrong or missing; under the `flask` command a
            click.ClickException, which it shows as one line.
    """
    try:
        server = Server(config if isinstance(config, Settings) else read_settings(config))
    except UserError as error:
        if click.get_current_context(silent=True):
            raise click.ClickException(str(error)) from None
        raise
    server.engine.predict(DUMMY)
    server.add_url_rule("/", "page", lambda: server.send_static_file("index.html"))
    server.add_url_rule("/", "faces", server.answer_faces, methods=["POST"])
    server.add_url_rule("/image", "picture", server.answer_picture, methods=["POST"])
    server.add_url_rule("/health", "health", server.answer_health)
    _add_errors(server)
    server.before_request(_refuse_encoding)
    cross_origin = CrossOrigin(server.settings.allowed_origins)
    server.after_request(lambda response: with_headers(response, cross_origin))
    return server


def _add_errors(server: Server) -> None:
    """Answer every error in JSON, without a stack trace."""

    @server.errorhandler(BodyError)
    def refused(error: BodyError) -> Response:
        return error_response(str(error), error.status)

    @server.errorhandler(HTTPException)
    def of_http(error: HTTPException) -> Response:
        status = error.code or 400
        message = f"{error.name}: {error.description}"
        if status == 413:
            limit = server.settings.max_body_bytes
            message = f"the body is too large, at most {limit:,} bytes and 1,000 parts of a form"
        if status == 404:
            message = f"there is no {request.path[:100]!r} here; {ADDRESSES}"
        headers = {name: value for name, value in error.get_headers() if name == "Allow"}
        return error_response(message, status, headers)

    @server.errorhandler(BusyError)
    def busy(error: BusyError) -> Response:
        return error_response(f"busy: {error}; try again", 429, RETRY_AFTER)

    @server.errorhandler(FaceServerError)
    def away(error: FaceServerError) -> Response:
        return error_response(str(error), 503)

    @server.errorhandler(ClosedError)
    def closed(error: ClosedError) -> Response:
        return error_response(str(error), 503)

    @server.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        """Log where, and not what: messages may hold numbers of a face."""
        places = [
            f"{place.filename}:{place.lineno}"
            for place in traceback.extract_tb(error.__traceback__)
        ]
        logger.error(f"{type(error).__name__} at {' < '.join(reversed(places[-3:]))}")
        return error_response("the server failed on this request; it goes on with others", 503)


def main() -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: a setting or a model is wrong or missing, or the address cannot be listened on.
    """
    settings = settings_from_arguments(None, __doc__)
    server = create_app(settings)
    serve(server, settings, server.close)


if __name__ == "__main__":
    run(main)
