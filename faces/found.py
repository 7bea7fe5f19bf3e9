"""The faces of one photo: found by a face source, in the photo's own pixels, from left to right."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faces.client import FaceSource
from faces.errors import ImageError
from faces.photo import Box, SentPhoto
from utils.labels import EMBEDDING_SIZE


@dataclass(frozen=True, slots=True, eq=False)
class FoundFaces:
    """The N faces of a photo, from left to right.

    Attributes:
        width: of the photo, upright, in pixels.
        height: of the photo.
        boxes: N.
        det_scores: N, how sure the detector is.
        embeddings: float32 (N, 512), unit length.
        model: name of the network that embedded them, if it is told.
    """

    width: int
    height: int
    boxes: list[Box]
    det_scores: list[float]
    embeddings: npt.NDArray[np.float32]
    model: str | None


def find_faces(photo: SentPhoto, source: FaceSource) -> FoundFaces:
    """Find the faces of a photo that `faces.photo` prepared.

    Raises:
        ImageError: the source cannot use the picture.
        ServerAwayError, AnswerError: as of `FaceSource.ask`.
    """
    answer = source.ask(photo.jpeg)
    if answer.faces is None:
        raise ImageError("the face network cannot use the picture")
    faces = sorted(answer.faces, key=lambda face: float(face.bbox[0]))
    embeddings = np.empty((len(faces), EMBEDDING_SIZE), np.float32)
    for number, face in enumerate(faces):
        embeddings[number] = face.embedding
    boxes = [photo.to_photo(face.bbox) for face in faces]
    scores = [float(face.det_score) for face in faces]
    return FoundFaces(photo.width, photo.height, boxes, scores, embeddings, answer.model)
