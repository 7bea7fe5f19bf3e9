"""The networks in this process, as the client asks servers."""

import numpy as np
import numpy.typing as npt

from photo_client.answers import Estimates, Health, Wanted
from photo_client.options import AGE_MODEL, FACE_PACK, GENDER_MODEL, ClientOptions
from serving.loading import load_predictor
from serving.predictor import Predictor


def load_local(options: ClientOptions) -> Predictor:
    """Load the networks that the options name.

    Raises:
        UserError: as `load_predictor`.
    """
    age, gender = options.age_model or AGE_MODEL, options.gender_model or GENDER_MODEL
    return load_predictor(age, gender, face_pack=options.face_pack or FACE_PACK)


class LocalModels:
    """The age and the gender model of a predictor; an `AgeGenderSource`."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def health(self) -> Health:
        """Return what the models are; of another face network the predictor itself has told."""
        pair = self._predictor.engine.pair
        models = {"age": pair.age, "gender": pair.gender}
        named = {
            kind: {
                "name": model.path.name,
                "num_classes": model.num_classes,
                "confidence": model.confidence and model.confidence.describe(),
            }
            for kind, model in models.items()
        }
        return Health.model_validate({"models": named})

    def estimate(self, embeddings: npt.NDArray[np.float32], wanted: Wanted) -> Estimates:
        """Estimate for (n, 512) of unit length; see `AgeGenderServer.estimate`."""
        said = self._predictor.engine.predict(embeddings, wanted.mc_samples)
        return Estimates.model_validate(said.as_json(wanted.mc_samples > 0, wanted.confidence))
