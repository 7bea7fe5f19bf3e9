"""What POST / answers, as plain values."""

from typing import Any

import numpy as np
import orjson
from flask import Response

from serving.engine import Prediction
from serving.query import Query

EMPTY = np.empty((0, 2), np.float32)
NO_FACES = Prediction(EMPTY, EMPTY, np.zeros(2, np.float32), None)


def json_response(content: Any, status: int = 200) -> Response:
    """Write plain values and numpy arrays as JSON."""
    text = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(text, status, mimetype="application/json")


def error_response(message: str, status: int, headers: dict[str, str] | None = None) -> Response:
    """Say what was wrong and what was expected."""
    response = json_response({"error": message}, status)
    response.headers.update(headers or {})
    return response


def answer(prediction: Prediction, query: Query) -> dict[str, Any]:
    """Give ages, genders and verdicts, one entry a face, in the form that is asked for."""
    form = _form_of_2022 if query.is_of_2022 else _form
    return {**form(prediction, query), "in_distribution": verdicts(prediction)}


def _form(prediction: Prediction, query: Query) -> dict[str, Any]:
    content: dict[str, Any] = {
        "ages": prediction.ages.tolist(),
        "genders": [{"m": male, "f": female} for male, female in _genders(prediction)],
    }
    if query.mc_samples:
        content["uncertainty"] = [
            {"age": age, "gender": gender} for age, gender in _entropies(prediction)
        ]
    return content


def _form_of_2022(prediction: Prediction, _: Query) -> dict[str, Any]:
    """Give what the original project's clients of 2022 read."""
    by_face = list(
        zip(prediction.ages.tolist(), _genders(prediction), _entropies(prediction), strict=True)
    )
    return {
        "ages": [{"mean": age, "entropy": entropy} for age, _, (entropy, _) in by_face],
        "genders": [
            {"m": male, "f": female, "entropy": entropy}
            for _, (male, female), (_, entropy) in by_face
        ],
    }


def verdicts(prediction: Prediction) -> list[bool | None]:
    """Tell of each face whether its vector is of the models' network; None where unknown."""
    if prediction.is_familiar is None:
        return [None] * len(prediction.age_probabilities)
    verdict: list[bool | None] = prediction.is_familiar.tolist()
    return verdict


def _genders(prediction: Prediction) -> list[list[float]]:
    probabilities: list[list[float]] = prediction.gender_probabilities.tolist()
    return probabilities


def _entropies(prediction: Prediction) -> list[tuple[float, float]]:
    ages, genders = prediction.age_entropy.tolist(), prediction.gender_entropy.tolist()
    return list(zip(ages, genders, strict=True))
