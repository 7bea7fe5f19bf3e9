"""GET /openapi.json: every address, what it takes and answers, in OpenAPI 3.1.

Source: https://spec.openapis.org/oas/v3.1.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from confidence.conformal import LEVELS
from faces.wire import BYTES, IMAGE_KEY
from serving.bodies import BINARY_TYPE, JSON_TYPE
from serving.face_confidence import LEVEL, MAX_NUM_THRESHOLDS, MAX_THRESHOLD
from serving.picture_bodies import FIELD, FILE_TYPES, FORM_TYPE
from serving.predictor import MC_SAMPLES
from serving.requests import CHOICES, IMAGE_QUERY, QUERY
from serving.schemas import (
    EmbeddingsAnswer,
    EmbeddingsAnswerOf2022,
    EmbeddingsBody,
    ErrorAnswer,
    ErrorRatesAnswer,
    FoundFacesAnswer,
    HealthAnswer,
    PictureAnswer,
    PictureBody,
    schema_of,
)
from serving.settings import ServerSettings

VERSION = "1.0.0"
TEXT: dict[str, Any] = {"schema": {"type": "string"}}
MODELS = (
    *(EmbeddingsBody, PictureBody, EmbeddingsAnswer, EmbeddingsAnswerOf2022, PictureAnswer),
    *(FoundFacesAnswer, HealthAnswer, ErrorRatesAnswer, ErrorAnswer),
)
ORIGINAL_BODY = {
    "type": "string",
    "description": "of the original project's clients: JSON that holds a pickled array, which is "
    "parsed and never run",
}
FACES_BODY = {
    "type": "string",
    "description": f'JSON that holds {{"{IMAGE_KEY}": {{"{BYTES}": the file in base64}}}}',
}
PARAMETERS = {
    "mc_samples": "passes with dropout, whose mean is the answer; 0 for one pass without",
    "normalize": "1: accept vectors that are not of unit length, and normalize them",
    "strict": "1: refuse vectors of another network than the models were trained on",
    "answer": "2022: answer in the form of the original project's clients of 2022",
    "level": "share of new people whose age interval, and whose gender set, is to hold the truth",
    "over": "ages in years, such as 18,25, of which to say how probably they are reached",
}
OF_CONFIDENCE: dict[str, dict[str, Any]] = {
    "level": {"type": "number", "minimum": LEVELS[0], "maximum": LEVELS[-1], "default": LEVEL},
    "over": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": MAX_THRESHOLD},
        "minItems": 1,
        "maxItems": MAX_NUM_THRESHOLDS,
        "examples": [[18, 25]],
    },
}
"""Schemas of parameters."""
ERRORS = {
    400: "What was sent cannot be read, or is out of range.",
    404: "There is no such file.",
    408: "The request did not arrive in time.",
    413: "The body is too large, or asks for too much.",
    415: "The body has another Content-Type, or is compressed.",
    422: "With strict=1: vectors of another network.",
    429: "Busy; try again after Retry-After seconds.",
    431: "The header is too large.",
    503: "The server stops or failed, or what finds the faces is away.",
}
ALWAYS = (400, 408, 413, 415, 431, 503)
"""Errors that any request can meet."""


@dataclass(frozen=True)
class Operation:
    """What one address answers to one method.

    Attributes:
        name: of the operation; unique.
        summary: what it does.
        content: of the answer with status 200, by media type.
        body: what it takes, by media type; empty for none.
        query: names of its parameters.
        mc_samples: the default of the parameter of that name.
        errors: statuses beside those of `ALWAYS`.
    """

    name: str
    summary: str
    content: Mapping[str, Any]
    body: Mapping[str, Any] = field(default_factory=dict)
    query: tuple[str, ...] = ()
    mc_samples: int = 0
    errors: tuple[int, ...] = ()

    def describe(self, max_mc_samples: int) -> dict[str, Any]:
        """Return the operation object."""
        errors = sorted((*ALWAYS, *self.errors))
        responses = {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}
        described: dict[str, Any] = {
            "operationId": self.name,
            "summary": self.summary,
            "responses": {"200": {"description": "OK", "content": self.content}, **responses},
        }
        default = min(self.mc_samples, max_mc_samples)
        if self.query:
            parameters = [_parameter(name, max_mc_samples, default) for name in self.query]
            described["parameters"] = parameters
        if self.body:
            described["requestBody"] = {"required": True, "content": self.body}
        return described


def _json(*models: Any) -> dict[str, Any]:
    """Describe content in JSON, of one of some types."""
    schemas = [schema_of(model) for model in models]
    return {JSON_TYPE: {"schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas}}}


def _parameter(name: str, max_mc_samples: int, mc_samples: int) -> dict[str, Any]:
    if name in CHOICES:
        choices = CHOICES[name]
        schema: dict[str, Any] = {"type": "string", "enum": [*choices], "default": choices[0]}
    elif name in OF_CONFIDENCE:
        schema = OF_CONFIDENCE[name]
    else:
        schema = {
            "type": "integer",
            "minimum": 0,
            "maximum": max_mc_samples,
            "default": mc_samples,
        }
    described = {"name": name, "in": "query", "description": PARAMETERS[name], "schema": schema}
    return {**described, "explode": False} if schema["type"] == "array" else described


EMBEDDINGS_BODY = {
    JSON_TYPE: {"schema": {"oneOf": [schema_of(EmbeddingsBody), ORIGINAL_BODY]}},
    BINARY_TYPE: {"schema": {"description": "little-endian float32, 512 a face"}},
}
PICTURE_BODY = {
    FORM_TYPE: {
        "schema": {
            "type": "object",
            "properties": {FIELD: {"type": "string", "contentMediaType": BINARY_TYPE}},
            "required": [FIELD],
        }
    },
    **_json(PictureBody),
    f"{FILE_TYPES}*": {"schema": {"description": "the file; its bytes say which format it is"}},
}
OPERATIONS = {
    "get /": Operation("page", "A page that shows what the models see.", {"text/html": TEXT}),
    "post /": Operation(
        "embeddings",
        "Ages and genders of embeddings.",
        _json(EmbeddingsAnswer, EmbeddingsAnswerOf2022),
        EMBEDDINGS_BODY,
        QUERY,
        errors=(422, 429),
    ),
    "post /image": Operation(
        "picture",
        "The faces of a picture, with ages and genders.",
        _json(PictureAnswer),
        PICTURE_BODY,
        IMAGE_QUERY,
        mc_samples=MC_SAMPLES,
        errors=(429,),
    ),
    "post /faces": Operation(
        "faces",
        "The faces of a picture with their embeddings, as a face server answers.",
        _json(FoundFacesAnswer),
        {JSON_TYPE: {"schema": FACES_BODY}},
        errors=(429,),
    ),
    "get /health": Operation("health", "Which models are loaded.", _json(HealthAnswer)),
    "get /error-rates": Operation(
        "errorRates", "How often the age model is wrong about ages.", _json(ErrorRatesAnswer)
    ),
    "get /metrics": Operation(
        "metrics", "What the server does, in Prometheus' text format 0.0.4.", {"text/plain": TEXT}
    ),
    "get /openapi.json": Operation(
        "openapi", "This description.", {JSON_TYPE: {"schema": {"type": "object"}}}
    ),
    "get /static/{filename}": Operation(
        "static", "Files of the page.", {"*/*": {"schema": {}}}, errors=(404,)
    ),
}
"""By method and path, with names in braces."""

FILENAME = {"name": "filename", "in": "path", "required": True, "schema": {"type": "string"}}


def describe_api(settings: ServerSettings) -> dict[str, Any]:
    """Return the description of a server with these settings."""
    paths: dict[str, dict[str, Any]] = {}
    for address, operation in OPERATIONS.items():
        method, path = address.split()
        if path != "/metrics" or settings.metrics == "on":
            paths.setdefault(path, {})[method] = operation.describe(settings.max_mc_samples)
    paths["/static/{filename}"]["parameters"] = [FILENAME]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "age-gender",
            "version": VERSION,
            "description": "Ages and genders of faces. HEAD is answered wherever GET is, and "
            "OPTIONS everywhere. There is no login.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": ".", "description": "where this description lies"}],
        "paths": paths,
        "components": _components(),
    }


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles of fields, which are their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Return that none is."""
        return False


def _components() -> dict[str, Any]:
    _, schemas = models_json_schema(
        [(model, "validation") for model in MODELS],
        ref_template="#/components/schemas/{model}",
        schema_generator=_WithoutTitles,
    )
    error = _json(ErrorAnswer)
    responses: dict[str, Any] = {
        str(status): {"description": text, "content": error} for status, text in ERRORS.items()
    }
    retry_after = {"description": "seconds", "schema": {"type": "integer"}}
    responses[str(HTTPStatus.TOO_MANY_REQUESTS.value)]["headers"] = {"Retry-After": retry_after}
    return {"schemas": schemas["$defs"], "responses": responses}
