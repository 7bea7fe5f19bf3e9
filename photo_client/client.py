"""The client: photos to the face server, embeddings to ours, annotated photos and a table back."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from tqdm import tqdm

from faces.client import AnswerError, Face, FaceAnswer, FaceServer, ServerAwayError
from faces.errors import ImageError
from faces.photo import MAX_SEND_SIDE, SentPhoto, picture_of, prepare
from faces.pictures import read_file
from faces.squares import DEFAULT_RESIZE, compressed
from http_client.retry import RetryPolicy
from photo_client.annotate import annotated
from photo_client.face import SeenFace, max_uncertainty, uncertainty_of
from photo_client.folders import in_words
from photo_client.inputs import Photo, find_photos
from photo_client.report import Result, printable, report
from photo_client.server import AgeGenderServer, RefusedError, away_message
from utils.errors import UserError
from utils.files import atomic_write, refuse_unwritable
from utils.locks import remove_leftovers
from utils.paths import user_path, user_text

EXIT_SOME_FAILED = 1
ANNOTATED_QUALITY = 92
FACE_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says; see `client.py --help`.

    Raises:
        UserError: a number is out of its range.
    """

    image_path: Sequence[str]
    url_face: str = "http://127.0.0.1:10002/"
    url_age_gender: str = "http://127.0.0.1:10003/"
    mc_samples: int = 64
    resize: int = DEFAULT_RESIZE
    out_dir: Path | None = None
    timeout: float = 60.0
    json: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.resize <= MAX_SEND_SIDE:
            raise UserError(f"--resize is {self.resize}, expected 0 to {MAX_SEND_SIDE}")
        if self.mc_samples < 0:
            raise UserError(f"--mc-samples is {self.mc_samples}, expected 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout is {self.timeout:g}, expected more than 0 seconds")


def parse_options(description: str | None, arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; in its paths `~` becomes the home folder.

    Raises:
        UserError: a number is out of its range, or a path is none.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(**{entry.name: entry.default for entry in fields(Options)[1:]})
    add = parser.add_argument
    add("--image-path", nargs="+", required=True, help="photos, folders, or patterns as 'a/*.jpg'")
    add("--url-face", help="face server (default: %(default)s)")
    add("--url-age-gender", help="age-gender server (default: %(default)s)")
    add("--mc-samples", type=int, help="passes for the uncertainty, or 0 (default: %(default)s)")
    add("--resize", type=int, help="side of the square sent; 0: the file (default: %(default)s)")
    add("--out-dir", help="folder to write to (default: beside the photos)")
    add("--timeout", type=float, help="seconds a server may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON, not a table")
    given = vars(parser.parse_args(arguments))
    given["image_path"] = [user_text(text, "--image-path") for text in given["image_path"]]
    if given["out_dir"] is not None:
        given["out_dir"] = user_path(given["out_dir"], "--out-dir")
    return Options(**given)


class _FailedError(Exception):
    """One photo failed; the others go on.

    Attributes:
        reason: in few words, the same for all photos of this sort.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def run_client(options: Options, wait: Callable[[float], None] = time.sleep) -> int:
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
        client = Client(face_server, server, options, wait)
        results: list[Result] = []
        try:
            for photo in tqdm(photos, "photos", disable=len(photos) == 1, file=sys.stderr):
                results.append(client.annotate(photo))
        finally:
            report(results, client.models, options.json)
    return EXIT_SOME_FAILED if any(result.error for result in results) else 0


class Client:
    """Both servers and how to ask them.

    Raises:
        UserError: one of them is away, or another one than expected.
    """

    def __init__(
        self,
        face_server: FaceServer,
        server: AgeGenderServer,
        options: Options,
        wait: Callable[[float], None],
    ) -> None:
        self._face_server, self._server = face_server, server
        self._options, self._wait = options, wait
        self._cleared: set[Path] = set()
        self.models = server.models()
        most = self.models.max_mc_samples
        if most is not None and options.mc_samples > most:
            raise UserError(f"--mc-samples is {options.mc_samples}, the server takes up to {most}")
        try:
            self._asked(face_server.probe)
        except AnswerError as error:
            if error.is_busy:
                raise UserError(
                    f"the face server at {face_server.url} stays busy ({error}); try again later"
                ) from None
            raise UserError(
                f"what answers at {face_server.url} is no face server ({error}); give its address "
                "with --url-face"
            ) from None

    def annotate(self, photo: Photo) -> Result:
        """Find the faces of a photo, guess, and write the annotated photo; says why it failed.

        Raises:
            UserError: a server is away.
        """
        try:
            content = read_file(photo.path)
            prepared = prepare(content, self._options.resize)
            faces, face_model = self._faces(prepared)
            guesses = self._guesses(faces, prepared)
            self._write(content, guesses, photo.annotated_path)
        except (ImageError, RefusedError, _FailedError) as error:
            return _failed(photo, error.reason, str(error))
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - counted by its kind; the others go on
            kind = f"cannot be annotated ({type(error).__name__})"
            return _failed(photo, kind, f"{kind}: {error}")
        return Result(photo, (prepared.width, prepared.height), guesses, face_model)

    def _faces(self, prepared: SentPhoto) -> tuple[list[Face], str | None]:
        """Ask for the faces, from left to right, and the name of the network."""
        try:
            answer = self._asked(lambda: self._face_server.ask(prepared.jpeg))
        except AnswerError as error:
            raise _FailedError("the face server", str(error)) from None
        if answer.faces is None:
            hint = "" if self._options.resize else "--resize 640 sends it as a colour JPEG"
            raise _FailedError("the face server cannot use the picture", hint)
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
            raise self._away(error) from None

    def _away(self, error: ServerAwayError) -> UserError:
        return UserError(
            away_message("face server", self._face_server.url, error, "start it", "--url-face")
        )

    def _guesses(self, faces: Sequence[Face], prepared: SentPhoto) -> list[SeenFace]:
        """Ask for ages and genders, in the order of the faces."""
        if not faces:
            return []
        embeddings = np.stack([face.embedding for face in faces])
        answer = self._server.guess(embeddings, self._options.mc_samples)
        largest = max_uncertainty(self.models.num_ages)
        unsure = [uncertainty_of(nats, largest) for nats in answer.uncertainties or ()]
        boxes = [prepared.to_photo(face.bbox.tolist()) for face in faces]
        return [
            SeenFace(
                bbox=(box[0], box[1], box[2], box[3]),
                det_score=float(face.det_score),
                age=answer.ages[number],
                male=answer.males[number],
                uncertainty=unsure[number] if unsure else None,
                in_distribution=answer.in_distribution[number],
            )
            for number, (face, box) in enumerate(zip(faces, boxes, strict=True))
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
            raise _FailedError("cannot be written", f"{path}, {why}") from None


def _failed(photo: Photo, reason: str, error: str) -> Result:
    """Tell that a photo failed, at once and in the result."""
    tqdm.write(printable(f"{photo.path}: {error}"), file=sys.stderr)
    return Result(photo, error=error, reason=reason)
