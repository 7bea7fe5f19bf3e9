"""Stands for insightface in the tests of the face server: finds what it is told to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


@dataclass
class FakeFace:
    bbox: NDArray[np.float32]
    det_score: float
    kps: NDArray[np.float32]
    normed_embedding: NDArray[np.float32]


def fake_face(seed: int) -> FakeFace:
    rng = np.random.default_rng(seed)
    vector = rng.standard_normal(512).astype(np.float32)
    return FakeFace(
        bbox=np.array([100, 200, 300, 400], np.float32) + seed,
        det_score=0.9 - seed / 100,
        kps=rng.uniform(100, 400, (5, 2)).astype(np.float32),
        normed_embedding=vector / np.linalg.norm(vector),
    )


@dataclass
class FakeAnalysis:
    """Finds `faces` in every picture, and keeps the pictures it saw."""

    faces: Sequence[FakeFace] = ()
    use_kps: bool = True
    width: int = 512
    seen: list[NDArray[np.uint8]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.models: dict[str, Any] = {
            "detection": SimpleNamespace(use_kps=self.use_kps),
            "recognition": SimpleNamespace(get_feat=lambda _: np.zeros((1, self.width))),
        }

    def get(self, img: NDArray[np.uint8], max_num: int) -> Sequence[FakeFace]:
        self.seen.append(img)
        return self.faces[:max_num]


def png(size: tuple[int, int] = (64, 64), color: Any = (255, 0, 0), mode: str = "RGB") -> bytes:
    stream = BytesIO()
    Image.new(mode, size, color).save(stream, "TIFF" if mode == "CMYK" else "PNG")
    return stream.getvalue()
