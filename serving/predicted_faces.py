"""What is predicted of the faces of photos, in plain values: for Python, and for POST /image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.found import FoundFaces
from faces.photo import Box
from serving.engine import MAX_BATCH_ROWS, InferenceEngine
from serving.predictions import FloatArray


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What the models say of a face.

    Attributes:
        age: in years, the expectation over the classes.
        gender: {"m": probability, "f": probability}.
        uncertainty: {"age": entropy in nats, "gender": entropy in nats}; of ensembles also
            "mutual_information", with the same two.
        in_distribution: whether the vector comes from the network that the models were trained on;
            None where they cannot tell.
    """

    age: float
    gender: dict[str, float]
    uncertainty: dict[str, Any]
    in_distribution: bool | None


@dataclass(frozen=True, kw_only=True)
class PredictedFace(Prediction):
    """A face of a photo, and what the models say of it.

    Attributes:
        box: x1 y1 x2 y2 in pixels of the photo, upright.
        det_score: how sure the detector is, 0 to 1.
    """

    box: Box
    det_score: float

    def as_json(self) -> dict[str, Any]:
        """Return what POST /image says of a face."""
        return {
            "bbox": self.box,
            "det_score": self.det_score,
            "age": self.age,
            "gender": self.gender,
            "uncertainty": self.uncertainty,
            "in_distribution": self.in_distribution,
        }


def predict_embeddings(
    engine: InferenceEngine, embeddings: FloatArray, mc_samples: int
) -> list[Prediction]:
    """Run the models on embeddings, so many at once that memory does not grow with N.

    Args:
        engine: of the models.
        embeddings: (N, 512), of unit length.
        mc_samples: passes with dropout; 0 for one pass without.

    Returns:
        N predictions.
    """
    predictions: list[Prediction] = []
    for start in range(0, len(embeddings), MAX_BATCH_ROWS):
        said = engine.predict(embeddings[start : start + MAX_BATCH_ROWS], mc_samples)
        columns = (said.ages, said.genders, said.uncertainty, said.in_distribution)
        predictions += [
            Prediction(age=age, gender=gender, uncertainty=uncertainty, in_distribution=flag)
            for age, gender, uncertainty, flag in zip(*columns, strict=True)
        ]
    return predictions


def predict_faces(
    engine: InferenceEngine, photos: Sequence[FoundFaces], mc_samples: int
) -> list[list[PredictedFace]]:
    """Run the models on the faces of photos, at least one, all at once.

    Args:
        engine: of the models.
        photos: the faces of each.
        mc_samples: passes with dropout; 0 for one pass without.

    Returns:
        the faces of each, from left to right.
    """
    embeddings = np.concatenate([photo.embeddings for photo in photos])
    predictions = iter(predict_embeddings(engine, embeddings, mc_samples))
    return [
        [
            PredictedFace(box=box, det_score=score, **vars(next(predictions)))
            for box, score in zip(photo.boxes, photo.det_scores, strict=True)
        ]
        for photo in photos
    ]
