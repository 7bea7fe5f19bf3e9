"""What POST / answers, as plain values."""

from typing import Any

import numpy as np
import orjson
from flask import Response

from serving.guess import Guess, Prediction
from serving.query import Query

EMPTY = np.empty((0, 2), np.float32)
NO_FACES = Prediction(Guess(EMPTY), Guess(EMPTY), np.zeros(2, np.float32), None)


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
    return {**form(prediction, query), "in_distribution": prediction.verdicts()}


def _form(prediction: Prediction, query: Query) -> dict[str, Any]:
    content = {"ages": prediction.ages.tolist(), "genders": prediction.genders()}
    if query.mc_samples or prediction.is_of_ensemble:
        content["uncertainty"] = prediction.uncertainty()
    return content


def _form_of_2022(prediction: Prediction, _: Query) -> dict[str, Any]:
    """Give what the original project's clients of 2022 read."""
    ages, entropies = prediction.ages.tolist(), prediction.uncertainty()
    return {
        "ages": [
            {"mean": age, "entropy": entropy["age"]}
            for age, entropy in zip(ages, entropies, strict=True)
        ],
        "genders": [
            {**gender, "entropy": entropy["gender"]}
            for gender, entropy in zip(prediction.genders(), entropies, strict=True)
        ],
    }
