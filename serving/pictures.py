"""POST /image: the faces of a picture are found, and described by the models."""

import math
from typing import Any

from faces.photo import prepare
from serving.predicted_faces import FaceQuery, predict_faces
from serving.predictor import Predictor
from serving.requests import check_passes
from serving.settings import ServerSettings


def describe_faces(
    picture: bytes, predictor: Predictor, query: FaceQuery, settings: ServerSettings
) -> dict[str, Any]:
    """Find the faces of a picture and describe them, from left to right.

    Args:
        picture: a file of any format that extraction reads.
        predictor: finds the faces and describes them.
        query: how the answer is to be made.
        settings: has the side of the square that is sent, and the limit of passes.

    Raises:
        HTTPException: it holds too many faces.
        ImageError: it is no picture, or a damaged or huge one, or the networks cannot use it.
        ServerAwayError, AnswerError: as of `FaceSource.ask`.
    """
    found = predictor.find(prepare(picture, settings.image_size))
    check_passes(len(found.boxes), query.mc_samples, settings.max_mc_passes)
    (faces,) = predict_faces(predictor.engine, [found], query)
    pair = predictor.engine.pair
    return {
        "width": found.width,
        "height": found.height,
        "level": query.confidence.level,
        "faces": [face.as_json() for face in faces],
        "max_uncertainty": {
            "age": math.log(pair.age.num_classes),
            "gender": math.log(pair.gender.num_classes),
        },
        "model": found.model,
    }
