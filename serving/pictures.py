"""POST /image: a picture goes to the face server, its faces to the models."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from faces.client import AnswerError, Face, FaceAnswer, FaceServer, ServerAwayError
from faces.errors import TOO_LARGE, ImageError
from faces.photo import SentPhoto, prepare
from serving.bodies import BodyError
from serving.engine import Engine
from serving.query import check_passes
from serving.settings import Settings


class FaceServerError(Exception):
    """The face server is away, or does not answer as one."""


def look_at(
    picture: bytes, face_server: FaceServer, engine: Engine, mc_samples: int, settings: Settings
) -> dict[str, Any]:
    """Find the faces of a picture and describe them, from left to right.

    Args:
        picture: a file of any format that extraction reads.
        face_server: finds the faces.
        engine: describes them.
        mc_samples: passes with dropout; 0 for none.
        settings: has the side of the square that is sent, and the limit of passes.

    Raises:
        BodyError: it is no picture, or a damaged or huge one, or holds too many faces.
        FaceServerError: the face server gives no faces.
    """
    prepared = _prepared(picture, settings.image_size)
    answer = _asked(face_server, prepared.jpeg)
    if answer.faces is None:
        raise BodyError("the face server cannot use this picture")
    found = sorted(answer.faces, key=lambda face: float(face.bbox[0]))
    check_passes(len(found), mc_samples, settings.max_mc_passes)
    pair = engine.pair
    return {
        "width": prepared.width,
        "height": prepared.height,
        "faces": _described(found, prepared, engine, mc_samples) if found else [],
        "max_uncertainty": {
            "age": math.log(pair.age.num_classes),
            "gender": math.log(pair.gender.num_classes),
        },
        "model": answer.model,
    }


def _prepared(picture: bytes, side: int) -> SentPhoto:
    try:
        return prepare(picture, side)
    except ImageError as error:
        raise BodyError(str(error), 413 if error.reason == TOO_LARGE else 400) from None


def _asked(face_server: FaceServer, jpeg: bytes) -> FaceAnswer:
    try:
        return face_server.ask(jpeg)
    except ServerAwayError as error:
        problem = f"is away: {error}"
    except AnswerError as error:
        problem = f"gave no faces: {error}"
    raise FaceServerError(f"the face server at {face_server.url} {problem}")


def _described(
    found: Sequence[Face], prepared: SentPhoto, engine: Engine, mc_samples: int
) -> list[dict[str, Any]]:
    """Give what the models say of each face, at least one, beside what the face server says."""
    prediction = engine.predict(np.stack([face.embedding for face in found]), mc_samples)
    guesses = zip(
        prediction.ages.tolist(),
        prediction.genders(),
        prediction.uncertainty(),
        prediction.verdicts(),
        strict=True,
    )
    return [
        {
            "bbox": prepared.to_photo(face.bbox.tolist()),
            "det_score": float(face.det_score),
            "age": age,
            "gender": gender,
            "uncertainty": uncertainty,
            "in_distribution": verdict,
        }
        for face, (age, gender, uncertainty, verdict) in zip(found, guesses, strict=True)
    ]
