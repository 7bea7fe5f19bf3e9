"""Annotates photos: reads one, has its people guessed, and writes the annotated copy."""

from collections.abc import Sequence
from pathlib import Path

from faces.photo import picture_of, prepare
from faces.pictures import read_file
from faces.squares import compressed
from photo_client.annotate import annotated
from photo_client.errors import writing
from photo_client.face import SeenFace
from photo_client.guesser import FaceGuesser
from photo_client.photos import PhotoFile
from photo_client.results import PhotoResult
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
        result = PhotoResult(photo)
        with result.noting_failure():
            content = read_file(photo.path)
            sent = prepare(content, self._resize)
            guesses = self._guesser.guess(sent)
            self._write(content, guesses.faces, photo.annotated_path)
            result.size, result.face_model = (sent.width, sent.height), guesses.face_model
            result.guesses = guesses.faces
        return result

    def _write(self, content: bytes, faces: Sequence[SeenFace], path: Path) -> None:
        """Write the annotated photo, without the metadata of the photo."""
        jpeg = compressed(annotated(picture_of(content), faces), ANNOTATED_QUALITY)
        if path.parent not in self._cleared:
            remove_leftovers(path.parent)
            self._cleared.add(path.parent)
        with writing(path), atomic_write(path) as file:
            file.write(jpeg)
