"""What became of each photo and clip: who is seen, or why it failed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from faces.errors import ImageError
from photo_client.errors import PhotoError
from photo_client.face import SeenFace
from photo_client.people import SeenPerson
from photo_client.photos import PhotoFile
from utils.errors import UserError


@dataclass(slots=True)
class Result:
    """What became of a photo or a clip.

    Attributes:
        photo: the files.
        size: width and height in pixels.
        face_model: name of the network that embedded the faces, if it is told.
        error: why it failed; None if it did not.
        reason: the same in few words.
    """

    photo: PhotoFile
    size: tuple[int, int] = (0, 0)
    face_model: str | None = None
    error: str | None = None
    reason: str = ""

    @property
    def problem(self) -> str:
        """What there is to say of it; "" if all went well."""
        return self.error or ""

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Note what the block raises, so that the other photos go on.

        Raises:
            UserError: a server is away, which fails the others too.
        """
        try:
            yield
        except UserError:
            raise
        except (ImageError, PhotoError) as error:
            self.reason, self.error = error.reason, str(error)
        except Exception as error:  # noqa: BLE001 - counted by its kind
            self.reason = f"cannot be annotated ({type(error).__name__})"
            self.error = f"{self.reason}: {error}"

    def _as_json(self, **seen: Any) -> dict[str, Any]:
        image_path = str(self.photo.path)
        if self.error is not None:
            return {"image_path": image_path, "error": self.error}
        annotated_path = str(self.photo.annotated_path)
        return {"image_path": image_path, "annotated_path": annotated_path, **seen}


@dataclass(slots=True)
class PhotoResult(Result):
    """What became of a photo: its faces, or why it failed."""

    guesses: list[SeenFace] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return what --json prints of a photo."""
        return self._as_json(
            width=self.size[0],
            height=self.size[1],
            faces=[guess.as_json() for guess in self.guesses],
            model=self.face_model,
        )


@dataclass(slots=True)
class ClipResult(Result):
    """What became of a clip: its people, or why it failed.

    Attributes:
        num_frames: that were read, of `duration_s` seconds.
        num_analysed: frames that were looked at, the last one at `last_analysed_s` seconds.
        missing: what of the clip could not be looked at; "" if nothing.
    """

    people: list[SeenPerson] = field(default_factory=list)
    num_frames: int = 0
    duration_s: float = 0.0
    num_analysed: int = 0
    last_analysed_s: float = 0.0
    missing: str = ""

    @property
    def problem(self) -> str:
        """Why it failed, or what of it is missing; "" if all went well."""
        return self.error or self.missing

    @property
    def guesses(self) -> list[SeenFace]:
        """One face a person."""
        return [person.mean_face for person in self.people]

    def as_json(self, with_boxes: bool = False) -> dict[str, Any]:
        """Return what --json prints of a clip; with boxes, what is written beside it."""
        return self._as_json(
            people_path=str(self.photo.people_path),
            width=self.size[0],
            height=self.size[1],
            seconds=round(self.duration_s, 3),
            num_frames=self.num_frames,
            num_analysed=self.num_analysed,
            missing=self.missing or None,
            people=[person.as_json(with_boxes) for person in self.people],
            model=self.face_model,
        )
