"""Stands for the face networks in the tests of what serves them: finds what it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO

from face_helpers import face as fake_face
from PIL import Image

from faces.client import Face, FaceAnswer

__all__ = ["FakeAnalyzer", "fake_face", "png"]


@dataclass
class FakeAnalyzer:
    """Finds `faces` in every picture, and keeps the files it was given."""

    faces: Sequence[Face] = ()
    model: str = "fake"
    device: str = "cpu"
    workers: int = 1
    seen: list[bytes] = field(default_factory=list)

    def ask(self, image: bytes) -> FaceAnswer:
        self.seen.append(image)
        return FaceAnswer([*self.faces], self.model)


def png(size: tuple[int, int] = (64, 64)) -> bytes:
    stream = BytesIO()
    Image.new("RGB", size, (255, 0, 0)).save(stream, "PNG")
    return stream.getvalue()
