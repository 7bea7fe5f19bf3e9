"""Annotates photos: reads one, has its people guessed, and writes the annotated copy."""

from collections.abc import Sequence
from pathlib import Path

from faces.errors import ImageError
from faces.photo import picture_of, prepare
from faces.pictures import read_file
from faces.squares import compressed
from photo_client.annotate import annotated
from photo_client.errors import PhotoError
from photo_client.face import SeenFace
from photo_client.guesser import FaceGuesser
from photo_client.photos import PhotoFile
from photo_client.report import PhotoResult
from utils.errors import UserError
from utils.files import atomic_write
from utils.locks import remove_leftovers

ANNOTATED_QUALITY = 92


class PhotoAnnotator:
    """Has photos guessed, and writes what is said into copies.

    Args:
        guesser: finds and judges faces.
        resize: side in pixels of the square that is sent; 0 sends the file.
    """

    def __init__(self, guesser: FaceGuesser, resize: int) -> None:
        self._guesser, self._resize = guesser, resize
        self._cleared: set[Path] = set()

    def annotate(self, photo: PhotoFile) -> PhotoResult:
        """Find the faces of a photo, estimate, and write the annotated photo; threads may share it.

        Returns:
            what was seen, or why it failed.

        Raises:
            UserError: a server is away.
        """
        try:
            content = read_file(photo.path)
            sent = prepare(content, self._resize)
            guesses = self._guesser.guess(sent)
            self._write(content, guesses.faces, photo.annotated_path)
        except (ImageError, PhotoError) as error:
            return PhotoResult(photo, error=str(error), reason=error.reason)
        except UserError:
            raise
        except Exception as error:  # noqa: BLE001 - counted by its kind; the others go on
            kind = f"cannot be annotated ({type(error).__name__})"
            return PhotoResult(photo, error=f"{kind}: {error}", reason=kind)
        return PhotoResult(photo, (sent.width, sent.height), guesses.faces, guesses.face_model)

    def _write(self, content: bytes, faces: Sequence[SeenFace], path: Path) -> None:
        """Write the annotated photo, without the metadata of the photo."""
        jpeg = compressed(annotated(picture_of(content), faces), ANNOTATED_QUALITY)
        if path.parent not in self._cleared:
            remove_leftovers(path.parent)
            self._cleared.add(path.parent)
        try:
            with atomic_write(path) as file:
                file.write(jpeg)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            why = getattr(error, "strerror", None) or str(error)
            raise PhotoError("cannot be written", f"{path}, {why}") from None
