"""The application: what its requests share, and what it answers at each address."""

from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
from flask import Flask, Response, request
from werkzeug.exceptions import UnprocessableEntity, UnsupportedMediaType

from faces.client import AnswerError, FaceAnswer
from faces.photo import is_readable
from faces.wire_request import decode_request
from serving.bodies import read_embeddings, whole_body
from serving.loading import predictor_of
from serving.metrics import ServerMetrics, TimedRequest
from serving.openapi import describe_api
from serving.picture_bodies import check_type, read_picture
from serving.pictures import describe_faces
from serving.predicted_faces import FaceQuery
from serving.predictions import NO_FACES, FacePredictions
from serving.predictor import MC_SAMPLES
from serving.requests import IMAGE_QUERY, Gate, check_passes, read_query
from serving.responses import json_response
from serving.settings import ServerSettings
from utils.body_encoding import refusal_of_encoding
from utils.labels import EMBEDDING_SIZE
from utils.runtime import available_cores

HEALTH_TIMEOUT_S = 10.0
DUMMY = np.full((1, EMBEDDING_SIZE), EMBEDDING_SIZE**-0.5, np.float32)
LIMITS = ("max_body_bytes", "max_faces", "max_mc_samples", "max_mc_passes")
"""Settings that GET /health tells."""


class InMemoryRequest(TimedRequest):
    """Keeps uploaded pictures in memory: nothing of a face touches a disk."""

    def _get_file_stream(self, *_: Any, **__: Any) -> IO[bytes]:
        return BytesIO()


class AgeGenderApp(Flask):
    """Answers requests with the pair of models that it loads.

    Raises:
        UserError: a model is wrong or missing, or there is no such device.
    """

    request_class = InMemoryRequest

    def __init__(self, settings: ServerSettings):
        super().__init__("app", static_folder=str(Path(__file__).parent / "static"))
        self.settings = settings
        self.predictor = predictor_of(settings, min(settings.max_images, available_cores()))
        self.engine = self.predictor.engine
        self.pair = self.engine.pair
        self.requests, self.pictures = Gate(settings.max_queue), Gate(settings.max_images)
        self.metrics = ServerMetrics(self.engine, self.requests, self.pictures)
        self.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
        self.config["MAX_FORM_MEMORY_SIZE"] = settings.max_body_bytes
        self.url_map.merge_slashes = self.url_map.strict_slashes = False  # no redirects

    def close(self) -> None:
        """Finish what is under way, and stop the threads; see `Predictor`."""
        self.predictor.close()

    def add_routes(self) -> None:
        """Register what answers at which address."""
        self.add_url_rule("/", "page", lambda: self.send_static_file("index.html"))
        self.add_url_rule("/", "embeddings", self.answer_embeddings, methods=["POST"])
        self.add_url_rule("/image", "picture", self.answer_picture, methods=["POST"])
        self.add_url_rule("/faces", "faces", self.answer_faces, methods=["POST"])
        self.add_url_rule("/health", "health", self.answer_health)
        self.add_url_rule("/error-rates", "errorRates", self.answer_error_rates)
        description = describe_api(self.settings)
        self.add_url_rule("/openapi.json", "openapi", lambda: json_response(description))
        if self.settings.metrics == "on":
            self.add_url_rule("/metrics", "metrics", self.metrics.response)

    def answer_embeddings(self) -> Response:
        """Answer POST /: ages and genders of embeddings.

        Raises:
            HTTPException: there is no answer; its description says why.
        """
        settings = self.settings
        with self.requests.entered():
            query = read_query(request.args, settings.max_mc_samples)
            embeddings = read_embeddings(
                whole_body(request), request.mimetype, settings.max_faces, query.normalize
            )
            check_passes(len(embeddings), query.mc_samples, settings.max_mc_passes)
            faces = NO_FACES
            if len(embeddings):
                faces = self.engine.predict(embeddings, query.mc_samples)
            if query.strict:
                _refuse_foreign(faces)
            self.metrics.count_faces(len(embeddings))
            if query.is_of_2022:
                return json_response(faces.as_json_of_2022())
            return json_response(faces.as_json(query.mc_samples > 0, query.confidence))

    def answer_picture(self) -> Response:
        """Answer POST /image: the faces of a picture.

        Raises:
            HTTPException: there is no answer; its description says why.
            ImageError, ServerAwayError, AnswerError: as `describe_faces`.
        """
        most = self.settings.max_mc_samples
        query = read_query(request.args, most, IMAGE_QUERY, min(MC_SAMPLES, most))
        check_type(request)
        with self.pictures.entered():
            picture = read_picture(request)
            asked = FaceQuery(query.mc_samples, query.confidence)
            content = describe_faces(picture, self.predictor, asked, self.settings)
        self.metrics.count_faces(len(content["faces"]))
        return json_response(content)

    def answer_faces(self) -> Response:
        """Answer POST /faces as a face server does: where faces are, and their embeddings.

        Raises:
            HTTPException: there is no answer; its description says why.
            RequestBodyError: the body is not what clients of face servers send.
            ServerAwayError, AnswerError: the face server gives no faces.
        """
        with self.requests.entered():  # extraction sends more at once than there are workers
            answer = self._find(decode_request(whole_body(request)))
        return Response(answer.encoded(), mimetype="application/json")

    def _find(self, picture: bytes) -> FaceAnswer:
        """Find faces; a picture that no decoder takes is no failure of a face server behind.

        Some face servers answer it with HTTP 500, and clients that hear of a failure ask again.
        """
        try:
            return self.predictor.ask(picture)
        except AnswerError as error:
            if error.is_busy or is_readable(picture):
                raise
            return FaceAnswer(None, self.predictor.network_check.model)

    def answer_health(self) -> Response:
        """Answer GET /health: both models are there and answer a dummy vector."""
        self.engine.predict(DUMMY, timeout_s=HEALTH_TIMEOUT_S)
        pair, settings = self.pair, self.settings
        return json_response(
            {
                "status": "ok",
                "models": pair.describe(),
                "device": str(pair.device),
                "limits": {name: getattr(settings, name) for name in LIMITS},
                "face_server_url": None if settings.face_pack else settings.face_server_url,
                "faces": self.predictor.describe_source(),
            }
        )

    def answer_error_rates(self) -> Response:
        """Answer GET /error-rates: how often the age model is wrong about who is of an age."""
        known = self.pair.confidence.age
        rates = [] if known is None else [one.model_dump() for one in known.error_rates]
        return json_response({"error_rates": rates})


def refuse_compressed_body() -> None:
    """Refuse any Content-Encoding of Flask's present request.

    Raises:
        HTTPException: it has one.
    """
    refusal = refusal_of_encoding(request.content_encoding)
    if refusal is not None:
        raise UnsupportedMediaType(refusal)


def _refuse_foreign(faces: FacePredictions) -> None:
    foreign = [number for number, known in enumerate(faces.in_distribution) if known is False]
    if foreign:
        raise UnprocessableEntity(
            f"{len(foreign):,} of the vectors, the first that of face {foreign[0]}, are not of the "
            "network whose embeddings the models were trained on; use that one, or models trained "
            "on this one"
        )
