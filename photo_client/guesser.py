"""From a picture to ages and genders: asks for faces, then for ages; maps boxes to the picture."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from faces.client import AnswerError, FaceSource
from faces.errors import ImageError
from faces.found import FoundFaces, find_faces
from faces.photo import SentPhoto
from faces.squares import UNCHANGED
from photo_client.answers import Estimates, Health
from photo_client.errors import PhotoError
from photo_client.face import SeenFace, max_uncertainty, uncertainty_of
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE


class AgeGenderSource(Protocol):
    """Estimates ages and genders of embeddings: a server, or networks in this process."""

    def health(self) -> Health:
        """Return what it estimates with, and its limits."""

    def estimate(self, embeddings: npt.NDArray[np.float32], mc_samples: int) -> Estimates:
        """Estimate for (n, 512) of unit length; threads may ask at once.

        Raises:
            PhotoError: it does not take them.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Guesses:
    """What is seen on one picture.

    Attributes:
        faces: from left to right, in pixels of the picture.
        embeddings: float32 (n, 512), of the faces.
        face_model: name of the network that embedded them, if it is told.
    """

    faces: list[SeenFace] = field(default_factory=list)
    embeddings: npt.NDArray[np.float32] = field(
        default_factory=lambda: np.zeros((0, EMBEDDING_SIZE), np.float32)
    )
    face_model: str | None = None


class FaceGuesser:
    """Guesses ages and genders of the faces on pictures; threads may share it.

    Attributes:
        health: what ages and genders are estimated with.

    Args:
        face_source: finds and embeds the faces.
        estimator: estimates their ages and genders.
        mc_samples: passes with dropout; 0 asks for no uncertainty.

    Raises:
        UserError: the estimator is away, another one than expected, or takes fewer passes.
    """

    def __init__(
        self, face_source: FaceSource, estimator: AgeGenderSource, mc_samples: int
    ) -> None:
        self._face_source, self._estimator = face_source, estimator
        self._mc_samples = mc_samples
        self.health = estimator.health()
        most = self.health.max_mc_samples
        if most is not None and mc_samples > most:
            raise UserError(f"--mc-samples is {mc_samples}, the server takes up to {most}")

    def guess(self, sent: SentPhoto) -> Guesses:
        """Find the faces of a picture that `faces.photo` prepared, and estimate.

        Raises:
            PhotoError: this picture gets no answer.
            UserError: a server is away.
        """
        try:
            found = find_faces(sent, self._face_source)
        except AnswerError as error:
            raise PhotoError("the face server", str(error)) from None
        except ImageError as error:
            is_file = sent.placement is UNCHANGED
            hint = "--resize 640 sends it as a colour JPEG" if is_file else ""
            raise PhotoError(error.reason, hint) from None
        if not found.boxes:
            return Guesses(face_model=found.model)
        estimates = self._estimator.estimate(found.embeddings, self._mc_samples)
        return Guesses(self._seen(found, estimates), found.embeddings, found.model)

    def _seen(self, found: FoundFaces, estimates: Estimates) -> list[SeenFace]:
        largest = max_uncertainty(self.health.num_ages)
        entropies = estimates.uncertainty if self._mc_samples else None
        return [
            SeenFace(
                bbox=box,
                det_score=score,
                age=estimates.ages[number],
                male=estimates.genders[number].m,
                uncertainty=uncertainty_of(entropies[number], largest) if entropies else None,
                in_distribution=estimates.in_distribution[number],
            )
            for number, (box, score) in enumerate(zip(found.boxes, found.det_scores, strict=True))
        ]
