"""POST /image: a picture goes to the face server, its faces to the models."""

import math
from typing import Any

import numpy as np

from extraction.images import ImageError
from serving.bodies import BodyError
from serving.engine import Engine
from serving.photo import prepare
from serving.query import check_passes
from serving.settings import Settings
from utils.face_client import AnswerError, FaceServer, ServerAwayError

TOO_LARGE = "image too large"


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
    try:
        prepared = prepare(picture, settings.image_size)
    except ImageError as error:
        raise BodyError(str(error), 413 if error.reason == TOO_LARGE else 400) from None
    try:
        answer = face_server.ask(prepared.jpeg)
    except ServerAwayError as error:
        raise FaceServerError(f"the face server at {face_server.url} is away: {error}") from None
    except AnswerError as error:
        raise FaceServerError(
            f"the face server at {face_server.url} gave no faces: {error}"
        ) from None
    if answer.faces is None:
        raise BodyError("the face server cannot use this picture")
    found = sorted(answer.faces, key=lambda face: float(face.bbox[0]))
    check_passes(len(found), mc_samples, settings.max_mc_passes)
    described: list[dict[str, Any]] = []
    if found:
        prediction = engine.predict(np.stack([face.embedding for face in found]), mc_samples)
        ages, familiar = prediction.ages, prediction.is_familiar
        entropies = zip(prediction.age_entropy, prediction.gender_entropy, strict=True)
        for number, (face, (age_entropy, gender_entropy)) in enumerate(
            zip(found, entropies, strict=True)
        ):
            male, female = prediction.gender_probabilities[number].tolist()
            described.append(
                {
                    "bbox": prepared.to_picture(face.bbox.tolist()),
                    "det_score": float(face.det_score),
                    "age": float(ages[number]),
                    "gender": {"m": male, "f": female},
                    "uncertainty": {"age": float(age_entropy), "gender": float(gender_entropy)},
                    "in_distribution": None if familiar is None else bool(familiar[number]),
                }
            )
    pair = engine.pair
    return {
        "width": prepared.width,
        "height": prepared.height,
        "faces": described,
        "max_uncertainty": {
            "age": math.log(pair.age.num_classes),
            "gender": math.log(pair.gender.num_classes),
        },
        "model": answer.model,
    }
