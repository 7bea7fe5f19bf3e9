"""Whether a server gives the embeddings of the network that this extraction began with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from faces.client import FaceAnswer
from utils.errors import UserError

MIN_COSINE = 0.99


class OtherNetworkError(UserError):
    """Another network is answering than the one that made the embeddings that are there."""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceImage:
    """A picture that was answered before, to be sent again.

    Attributes:
        body: its request.
        embedding: float32 (512,), of one of its faces.
        name: of the image, for the message.
    """

    body: bytes
    embedding: npt.NDArray[np.float32]
    name: str = "an image sent before"

    def check(self, answer: FaceAnswer, url: str) -> None:
        """Compare an answer to the picture.

        Raises:
            OtherNetworkError: none of its faces is alike.
        """
        cosine = max(
            (float(face.embedding @ self.embedding) for face in answer.faces or ()), default=0
        )
        if cosine < MIN_COSINE:
            found = f"a face of cosine {cosine:.3f}" if answer.faces else "no face"
            raise OtherNetworkError(
                f"{url} is another network than the one that made the embeddings so far: sent "
                f"again, {self.name} gave {found}, at least {MIN_COSINE} was expected; start the "
                "server of before, or move the .pkl files and extractor.json away to begin anew"
            )
