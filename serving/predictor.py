"""From Python: ages and genders of the faces on photos, with networks in this process."""

import atexit
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from face_networks.analyzer import FaceAnalyzer
from faces.client import FaceAnswer, FaceSource
from faces.errors import ImageError
from faces.found import FoundFaces, find_faces
from faces.photo import SentPhoto, prepare, prepare_picture
from faces.pictures import read_file
from faces.squares import DEFAULT_RESIZE
from http_client.retry import RetryPolicy
from serving.embeddings import EXPECTED, Embeddings, EmbeddingsError, of_unit_length, to_float32
from serving.engine import ClosedError, InferenceEngine
from serving.face_confidence import LEVEL, ConfidenceQuery
from serving.network_check import NetworkCheck
from serving.predicted_faces import (
    FaceQuery,
    PredictedFace,
    Prediction,
    predict_embeddings,
    predict_faces,
)
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE
from utils.runtime import available_cores

MC_SAMPLES = 64
"""Passes with dropout for a photo, where nothing else is asked for."""

RETRY = RetryPolicy()

Photo = str | os.PathLike[str] | bytes | Image.Image | npt.NDArray[np.uint8]
"""A path, the bytes of a file, a picture of Pillow, or pixels (H, W, 3), red first."""

Ages = Sequence[int]
"""In whole years."""

APhoto = TypeVar("APhoto", bound=Photo)


class Predictor:
    """Predicts ages and genders of the faces on photos. Threads may share it.

    Use it as a context manager, or close it, to stop its threads; the program's end does so too.

    Attributes:
        engine: runs the models.
        face_source: finds the faces; None where there are only embeddings to predict.
        network_check: compares the network of the faces with those of the models.

    Args:
        image_size: side in pixels of the square that the face networks get.
    """

    def __init__(
        self,
        engine: InferenceEngine,
        face_source: FaceSource | None,
        image_size: int = DEFAULT_RESIZE,
    ) -> None:
        self.engine, self.face_source = engine, face_source
        self.network_check = NetworkCheck(engine.pair.trained_on())
        if isinstance(face_source, FaceAnalyzer):
            self.network_check.note(face_source.model)
        self._image_size = image_size
        self._threads = ThreadPoolExecutor(2 * available_cores(), "photos")  # half of them wait
        self._is_closed, self._num_calls = False, 0
        self._changed = threading.Condition()
        atexit.register(self.close)  # a thread that lives longer than the program aborts it

    @overload
    def __call__(
        self, photos: Photo, mc_samples: int = ..., level: float = ..., over: Ages = ...
    ) -> list[PredictedFace]: ...
    @overload
    def __call__(
        self,
        photos: list[APhoto] | tuple[APhoto, ...],
        mc_samples: int = ...,
        level: float = ...,
        over: Ages = ...,
    ) -> list[list[PredictedFace] | ImageError]: ...
    def __call__(
        self,
        photos: Photo | list[APhoto] | tuple[APhoto, ...],
        mc_samples: int = MC_SAMPLES,
        level: float = LEVEL,
        over: Ages = (),
    ) -> list[PredictedFace] | list[list[PredictedFace] | ImageError]:
        """Find the faces of a photo, or of many, and predict.

        Args:
            photos: a path, the bytes of a file, a picture of Pillow, or uint8 pixels (H, W, 3), red
                first; or a list of such. What EXIF turns is turned.
            mc_samples: passes with dropout, whose mean is the answer; 0 for one pass without.
            level: share of new people whose `age_interval`, and whose `gender_set`, is to hold the
                truth, from 0.5 to 0.99.
            over: ages in years, of which `over` says how probably they are reached.

        Returns:
            the faces of the photo, from left to right; of a list, those of each photo. In place of
            those of a photo that cannot be read stands the error.

        Raises:
            ImageError: the only photo cannot be read.
            ServerAwayError, AnswerError: a face server gives no faces.
            UserError: there is nothing to find faces with, or a number is out of its range.
            ClosedError: the predictor is closed.
        """
        query = _query(mc_samples, level, over)
        with self._at_work():
            if not isinstance(photos, list | tuple):
                return predict_faces(self.engine, [self._found(photos)], query)[0]
            outcomes = list(self._threads.map(self._found_or_error, photos))
            found = [one for one in outcomes if isinstance(one, FoundFaces)]
            faces = iter(predict_faces(self.engine, found, query) if found else [])
            return [one if isinstance(one, ImageError) else next(faces) for one in outcomes]

    def predict_embeddings(
        self,
        embeddings: npt.ArrayLike,
        mc_samples: int = MC_SAMPLES,
        level: float = LEVEL,
        over: Ages = (),
    ) -> list[Prediction]:
        """Predict of embeddings (N, 512) of unit length; the other arguments are as for photos.

        Raises:
            UserError: they have another shape or length, or a number is out of its range.
            ClosedError: the predictor is closed.
        """
        query = _query(mc_samples, level, over)
        with self._at_work():
            return predict_embeddings(self.engine, _checked(embeddings), query)

    def find(self, photo: SentPhoto) -> FoundFaces:
        """Find the faces of a photo that `faces.photo` prepared; see `find_faces`."""
        return find_faces(photo, self)

    def ask(self, image: bytes) -> FaceAnswer:
        """Find the faces of an encoded picture; a predictor is a `FaceSource` itself.

        Raises:
            ServerAwayError, AnswerError: a face server gives no faces.
            UserError: there is nothing to find faces with.
        """
        if self.face_source is None:
            raise UserError(
                "no face networks: give load_predictor a face_pack, such as 'buffalo_l', or a "
                "face_server_url; or call predict_embeddings"
            )
        answer = self.face_source.ask(image)
        self.network_check.note(answer.model)
        return answer

    def describe_source(self) -> dict[str, Any]:
        """Return what finds the faces, for GET /health."""
        here = self.face_source if isinstance(self.face_source, FaceAnalyzer) else None
        return {
            "in_process": here is not None,
            "model": self.network_check.model,
            "device": here and here.device,
            "warning": self.network_check.warning,
        }

    def close(self) -> None:
        """Finish what is under way, and stop the threads."""
        atexit.unregister(self.close)
        with self._changed:
            self._is_closed = True
            self._changed.wait_for(lambda: not self._num_calls)
        self._threads.shutdown()
        self.engine.close()
        if self.face_source is not None:
            self.face_source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Keep the predictor from being closed while the block lasts."""
        with self._changed:
            if self._is_closed:
                raise ClosedError("the predictor is closed")
            self._num_calls += 1
        try:
            yield
        finally:
            with self._changed:
                self._num_calls -= 1
                self._changed.notify_all()

    def _found(self, photo: Photo) -> FoundFaces:
        prepared = _prepared(photo, self._image_size)
        return RETRY.run(lambda: self.find(prepared))

    def _found_or_error(self, photo: Photo) -> FoundFaces | ImageError:
        try:
            return self._found(photo)
        except ImageError as error:
            return error


def _query(mc_samples: int, level: float, over: Ages) -> FaceQuery:
    """Check what is asked for.

    Raises:
        UserError: a number is out of its range.
    """
    if not isinstance(mc_samples, int | np.integer) or mc_samples < 0:
        raise UserError(f"mc_samples is {mc_samples!r}, expected 0 or more")
    return FaceQuery(mc_samples, ConfidenceQuery(level, tuple(over)))


def _checked(embeddings: npt.ArrayLike) -> Embeddings:
    """Take embeddings (N, 512), if they are such: what POST / refuses is refused here."""
    try:
        given = np.asarray(embeddings)
    except ValueError:
        raise EmbeddingsError(f"embeddings of different lengths, {EXPECTED}") from None
    if given.shape == (0,):
        return np.empty((0, EMBEDDING_SIZE), np.float32)
    rows = np.ascontiguousarray(to_float32(given))
    return of_unit_length(rows, "divide each by its length")


def _prepared(photo: Photo, side: int) -> SentPhoto:
    """Make the square of a photo of any kind.

    Raises:
        ImageError: it is none, or a damaged or huge one.
        TypeError: it is of another kind.
    """
    match photo:
        case bytes():
            return prepare(photo, side)
        case str() | os.PathLike():
            return prepare(read_file(Path(photo)), side)
        case Image.Image():
            return prepare_picture(photo, side)
        case np.ndarray():
            return prepare_picture(_picture_of(photo), side)
    raise TypeError(
        f"a photo of type {type(photo).__name__}, expected a path, bytes, a picture of Pillow, or "
        "an array"
    )


def _picture_of(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    is_picture = pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size
    if pixels.dtype != np.uint8 or not is_picture:
        got = f"an array {pixels.dtype} {pixels.shape}"
        raise ImageError("not an image", f"{got}, expected uint8 (H, W, 3), red first")
    return Image.fromarray(pixels)
