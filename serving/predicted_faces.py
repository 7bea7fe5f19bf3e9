"""What is predicted of the faces of photos, in plain values: for Python, and for POST /image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from faces.found import FoundFaces
from faces.photo import Box
from serving.engine import MAX_BATCH_ROWS, InferenceEngine
from serving.face_confidence import AgeInterval, ConfidenceQuery, GenderSet, Over
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
        age_interval: first and last year of the range that holds the true age as often as the level
            asks; None where the models cannot tell.
        gender_set: "m", "f", or both, of which one is true as often as the level asks; None as
            before.
        covered: whether the face is of the kind that the level holds for; None where nobody can
            tell, or where nothing is promised.
        over: ages that were asked for, as text, to the probability of being at least so old; None
            where none was, or where the models cannot tell.
    """

    age: float
    gender: dict[str, float]
    uncertainty: dict[str, Any]
    in_distribution: bool | None
    age_interval: AgeInterval | None
    gender_set: GenderSet | None
    covered: bool | None
    over: Over | None


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
            "age_interval": self.age_interval,
            "gender_set": self.gender_set,
            "covered": self.covered,
            "over": self.over,
        }


@dataclass(frozen=True)
class FaceQuery:
    """How the answer about faces is to be made.

    Attributes:
        mc_samples: passes with dropout, whose mean it is; 0 for one pass without.
        confidence: what is to be said of how sure it is.
    """

    mc_samples: int
    confidence: ConfidenceQuery


def predict_embeddings(
    engine: InferenceEngine,
    embeddings: FloatArray,
    query: FaceQuery,
    det_scores: Sequence[float] | None = None,
) -> list[Prediction]:
    """Run the models on embeddings, so many at once that memory does not grow with N.

    Args:
        engine: of the models.
        embeddings: (N, 512), of unit length.
        query: how the answer is to be made.
        det_scores: N, how sure the detector is; None where there was none.

    Returns:
        N predictions.
    """
    predictions: list[Prediction] = []
    for start in range(0, len(embeddings), MAX_BATCH_ROWS):
        rows = slice(start, start + MAX_BATCH_ROWS)
        said = engine.predict(embeddings[rows], query.mc_samples)
        sure = said.confidence(query.confidence, det_scores and det_scores[rows])
        columns = {
            "age": said.ages,
            "gender": said.genders,
            "uncertainty": said.uncertainty,
            "in_distribution": said.in_distribution,
            "age_interval": sure.age_intervals,
            "gender_set": sure.gender_sets,
            "covered": sure.covered,
            "over": sure.over,
        }
        faces = zip(*columns.values(), strict=True)
        predictions += [Prediction(**dict(zip(columns, face, strict=True))) for face in faces]
    return predictions


def predict_faces(
    engine: InferenceEngine, photos: Sequence[FoundFaces], query: FaceQuery
) -> list[list[PredictedFace]]:
    """Run the models on the faces of photos, at least one, all at once.

    Args:
        engine: of the models.
        photos: the faces of each.
        query: how the answer is to be made.

    Returns:
        the faces of each, from left to right.
    """
    embeddings = np.concatenate([photo.embeddings for photo in photos])
    scores = [score for photo in photos for score in photo.det_scores]
    predictions = iter(predict_embeddings(engine, embeddings, query, scores))
    return [
        [
            PredictedFace(box=box, det_score=score, **vars(next(predictions)))
            for box, score in zip(photo.boxes, photo.det_scores, strict=True)
        ]
        for photo in photos
    ]
