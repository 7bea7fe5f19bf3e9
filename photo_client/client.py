"""The client: photos to the face server, embeddings to ours, annotated photos and a table back."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from faces.client import AnswerError, Face, FaceAnswer, FaceServer, ServerAwayError
from faces.errors import ImageError
from faces.photo import SentPhoto, picture_of, prepare
from faces.pictures import read_file
from faces.squares import compressed
from http_client.retry import RetryPolicy
from photo_client.annotate import annotated
from photo_client.errors import FACE_SERVER, PhotoError
from photo_client.face import SeenFace, max_uncertainty, uncertainty_of
from photo_client.options import ClientOptions
from photo_client.photos import PhotoFile, find_photos, in_words
from photo_client.report import PhotoResult, printable, report
from photo_client.server import AgeGenderServer
from utils.errors import UserError
from utils.files import atomic_write, refuse_unwritable
from utils.locks import remove_leftovers

EXIT_SOME_FAILED = 1
ANNOTATED_QUALITY = 92
FACE_RETRY = RetryPolicy()


def run_client(options: ClientOptions, wait: Callable[[float], None] = time.sleep) -> int:
    """Annotate all photos and print what was seen.

    Args:
        options: what to do.
        wait: how to wait some seconds.

    Returns:
        the exit code: 0, or `EXIT_SOME_FAILED` when photos failed.

    Raises:
        UserError: nothing to do, a folder that cannot be written, or a server is away or another
            one than expected; what was seen before is printed, and written, all the same.
    """
    left_out: Counter[str] = Counter()
    photos = find_photos(options.image_path, options.out_dir, left_out)
    if left_out:
        print(printable(in_words(left_out)), file=sys.stderr)
    refuse_unwritable(*(photo.annotated_path.parent for photo in photos))
    with (
        closing(FaceServer(options.url_face, options.timeout)) as face_server,
        closing(AgeGenderServer(options.url_age_gender, options.timeout, wait)) as server,
    ):
        annotator = PhotoAnnotator(face_server, server, options, wait)
        results: list[PhotoResult] = []
        try:
            for photo in tqdm(photos, "photos", disable=len(photos) == 1, file=sys.stderr):
                results.append(annotator.annotate(photo))
        finally:
            report(results, annotator.health, options.json)
    return EXIT_SOME_FAILED if any(result.error for result in results) else 0


class PhotoAnnotator:
    """Asks both servers about photos, and writes what they say into copies.

    Raises:
        UserError: one of them is away, or another one than expected.
    """

    def __init__(
        self,
        face_server: FaceServer,
        server: AgeGenderServer,
        options: ClientOptions,
        wait: Callable[[float], None],
    ) -> None:
        self._face_server, self._server = face_server, server
        self._options, self._wait = options, wait
        self._cleared: set[Path] = set()
        self.health = server.health()
        most = self.health.max_mc_samples
        if most is not None and options.mc_samples > most:
            raise UserError(f"--mc-samples is {options.mc_samples}, the server takes up to {most}")
        try:
            self._asked(face_server.probe)
        except AnswerError as error:
            if error.is_busy:
                raise FACE_SERVER.busy(face_server.url, error) from None
            raise FACE_SERVER.another(face_server.url, str(error)) from None

    def annotate(self, photo: PhotoFile) -> PhotoResult:
        """Find the faces of a photo, estimate, and write the annotated photo; says why it failed.

        Raises:
            UserError: a server is away.
        """
        try:
            content = read_file(photo.path)
            sent = prepare(content, self._options.resize)
            faces, face_model = self._faces(sent)
            guesses = self._guesses(faces, sent)
            self._write(content, guesses, photo.annotated_path)
        except (ImageError, PhotoError) as error:
            return _failed(photo, error.reason, str(error))
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - counted by its kind; the others go on
            kind = f"cannot be annotated ({type(error).__name__})"
            return _failed(photo, kind, f"{kind}: {error}")
        return PhotoResult(photo, (sent.width, sent.height), guesses, face_model)

    def _faces(self, sent: SentPhoto) -> tuple[list[Face], str | None]:
        """Ask for the faces, from left to right, and the name of the network."""
        try:
            answer = self._asked(lambda: self._face_server.ask(sent.jpeg))
        except AnswerError as error:
            raise PhotoError("the face server", str(error)) from None
        if answer.faces is None:
            hint = "" if self._options.resize else "--resize 640 sends it as a colour JPEG"
            raise PhotoError("the face server cannot use the picture", hint)
        return sorted(answer.faces, key=lambda face: float(face.bbox[0])), answer.model

    def _asked(self, ask: Callable[[], FaceAnswer]) -> FaceAnswer:
        """Ask the face server, again after what may pass.

        Raises:
            AnswerError: it answers, and not with faces.
            UserError: it is away.
        """
        try:
            return FACE_RETRY.run(ask, self._wait)
        except ServerAwayError as error:
            raise FACE_SERVER.away(self._face_server.url, error) from None

    def _guesses(self, faces: Sequence[Face], sent: SentPhoto) -> list[SeenFace]:
        """Ask for ages and genders, in the order of the faces."""
        if not faces:
            return []
        passes = self._options.mc_samples
        estimates = self._server.estimate(np.stack([face.embedding for face in faces]), passes)
        largest = max_uncertainty(self.health.num_ages)
        entropies = estimates.uncertainty if passes else None
        verdicts = estimates.in_distribution
        return [
            SeenFace(
                bbox=sent.to_photo(face.bbox),
                det_score=float(face.det_score),
                age=estimates.ages[number],
                male=estimates.genders[number].m,
                uncertainty=uncertainty_of(entropies[number], largest) if entropies else None,
                in_distribution=verdicts[number] if verdicts else None,
            )
            for number, face in enumerate(faces)
        ]

    def _write(self, content: bytes, guesses: Sequence[SeenFace], path: Path) -> None:
        """Write the annotated photo, without the metadata of the photo."""
        jpeg = compressed(annotated(picture_of(content), guesses), ANNOTATED_QUALITY)
        if path.parent not in self._cleared:
            remove_leftovers(path.parent)
            self._cleared.add(path.parent)
        try:
            with atomic_write(path) as file:
                file.write(jpeg)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            why = getattr(error, "strerror", None) or str(error)
            raise PhotoError("cannot be written", f"{path}, {why}") from None


def _failed(photo: PhotoFile, reason: str, error: str) -> PhotoResult:
    """Print that a photo failed, and return the result that says so."""
    tqdm.write(printable(f"{photo.path}: {error}"), file=sys.stderr)
    return PhotoResult(photo, error=error, reason=reason)
