"""From a picture to ages and genders: asks for faces, then for ages; maps boxes to the picture."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from faces.client import AnswerError, FaceSource
from faces.errors import ImageError
from faces.found import FoundFaces, find_faces
from faces.photo import SentPhoto
from faces.squares import UNCHANGED
from photo_client.answers import Estimates, Health, Wanted
from photo_client.errors import PhotoError
from photo_client.face import SeenFace, Uncertainty
from serving.schemas import NatsAnswer
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE

Entry = TypeVar("Entry")


class AgeGenderSource(Protocol):
    """Estimates ages and genders of embeddings: a server, or networks in this process."""

    def health(self) -> Health:
        """Return what it estimates with, and its limits."""

    def estimate(self, embeddings: npt.NDArray[np.float32], wanted: Wanted) -> Estimates:
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
        wanted: of each face.

    Raises:
        UserError: the estimator is away, another one than expected, or takes fewer passes.
    """

    def __init__(self, face_source: FaceSource, estimator: AgeGenderSource, wanted: Wanted) -> None:
        self._face_source, self._estimator = face_source, estimator
        self._wanted = wanted
        self.health = estimator.health()
        most = self.health.max_mc_samples
        if most is not None and wanted.mc_samples > most:
            raise UserError(f"--mc-samples is {wanted.mc_samples}, the server takes up to {most}")

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
        estimates = self._estimator.estimate(found.embeddings, self._wanted)
        return Guesses(self._seen(found, estimates), found.embeddings, found.model)

    def _seen(self, found: FoundFaces, estimates: Estimates) -> list[SeenFace]:
        seen = []
        for number, (box, score) in enumerate(zip(found.boxes, found.det_scores, strict=True)):
            ages = _entry(estimates.age_intervals, number)
            genders = _entry(estimates.gender_sets, number)
            is_unclear = (ages or genders) and score < self.health.lowest_det_score
            face = SeenFace(
                bbox=box,
                det_score=score,
                age=estimates.ages[number],
                male=estimates.genders[number].m,
                uncertainty=self._uncertainty(_entry(estimates.uncertainty, number)),
                in_distribution=estimates.in_distribution[number],
                age_interval=ages,
                gender_set=genders,
                over=_entry(estimates.over, number),
                covered=False if is_unclear else _entry(estimates.covered, number),
            )
            seen.append(face)
        return seen

    def _uncertainty(self, nats: NatsAnswer | None) -> Uncertainty | None:
        return None if nats is None else Uncertainty(nats.age, nats.gender, self.health.num_ages)


def _entry(entries: Sequence[Entry | None] | None, number: int) -> Entry | None:
    """Return an entry of a list that the answer may leave out."""
    return entries[number] if entries else None
