"""POST /image: a picture goes to the face server, its faces to the models."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from werkzeug.exceptions import BadRequest

from faces.client import Face, FaceServer
from faces.photo import SentPhoto, prepare
from serving.engine import InferenceEngine
from serving.requests import check_passes
from serving.settings import ServerSettings


def describe_faces(
    picture: bytes,
    face_server: FaceServer,
    engine: InferenceEngine,
    mc_samples: int,
    settings: ServerSettings,
) -> dict[str, Any]:
    """Find the faces of a picture and describe them, from left to right.

    Args:
        picture: a file of any format that extraction reads.
        face_server: finds the faces.
        engine: describes them.
        mc_samples: passes with dropout; 0 for none.
        settings: has the side of the square that is sent, and the limit of passes.

    Raises:
        HTTPException: it holds too many faces, or the face server cannot use it.
        ImageError: it is no picture, or a damaged or huge one.
        ServerAwayError, AnswerError: the face server gives no faces.
    """
    photo = prepare(picture, settings.image_size)
    answer = face_server.ask(photo.jpeg)
    if answer.faces is None:
        raise BadRequest("the face server cannot use this picture")
    found = sorted(answer.faces, key=lambda face: float(face.bbox[0]))
    check_passes(len(found), mc_samples, settings.max_mc_passes)
    pair = engine.pair
    return {
        "width": photo.width,
        "height": photo.height,
        "faces": _described(found, photo, engine, mc_samples) if found else [],
        "max_uncertainty": {
            "age": math.log(pair.age.num_classes),
            "gender": math.log(pair.gender.num_classes),
        },
        "model": answer.model,
    }


def _described(
    found: Sequence[Face], photo: SentPhoto, engine: InferenceEngine, mc_samples: int
) -> list[dict[str, Any]]:
    """Return what the models say of each face, at least one, beside what the face server says."""
    said = engine.predict(np.stack([face.embedding for face in found]), mc_samples)
    columns = (said.ages, said.genders, said.uncertainty, said.in_distribution)
    return [
        {
            "bbox": photo.to_photo(face.bbox.tolist()),
            "det_score": float(face.det_score),
            "age": age,
            "gender": gender,
            "uncertainty": uncertainty,
            "in_distribution": flag,
        }
        for face, age, gender, uncertainty, flag in zip(found, *columns, strict=True)
    ]
