"""The networks of insightface: a detector and an ArcFace model, loaded from a model pack."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from faces.modes import plain
from faces.pictures import MAX_JPEG_PIXELS, MAX_PIXELS, Limits, opened
from faces.squares import Placement, on_square
from faces.wire import FaceArrays
from faces.wire_decode import MAX_MODEL_LENGTH
from utils.errors import UserError
from utils.labels import EMBEDDING_SIZE

SIDE = 640
"""Side in pixels of what the detector sees, as in the container."""

LIMITS = Limits(side=8192, jpeg_pixels=MAX_JPEG_PIXELS, pixels=MAX_PIXELS)
"""The widest square takes 270 MB, that of 1 x 60,000 would take 15 GB."""

MAX_FACES = 512
"""Most faces that are answered, of more the largest ones near the middle: each costs a pass of the
ArcFace model, and clients read answers of up to 4 MiB."""

TASKS = ("detection", "recognition")
CROP_SIDE = 112
_CPU = ["CPUExecutionProvider"]


class PackError(UserError):
    """A model pack is missing, or lacks what the server needs."""


class InsightFace(Protocol):
    """What insightface says of one face, in pixels of the picture it was given."""

    bbox: npt.NDArray[np.float32]
    det_score: float
    kps: npt.NDArray[np.float32]
    normed_embedding: npt.NDArray[np.float32]


class Analysis(Protocol):
    """What is used of insightface's FaceAnalysis; not made for two calls at once."""

    @property
    def models(self) -> Mapping[str, Any]:
        """The networks by their tasks."""

    def get(self, img: npt.NDArray[np.uint8], max_num: int) -> Sequence[InsightFace]:
        """Find the faces of a picture, blue first."""


def model_name(pack: str) -> str:
    """Return the name of the network that a pack holds: the pack itself, or the folder's last part.

    Raises:
        PackError: the folder has a name that cannot stand in an answer.

    >>> model_name("buffalo_l"), model_name("packs/tiny/")
    ('buffalo_l', 'tiny')
    """
    name = Path(pack).expanduser().resolve().name
    if not name.isprintable() or not 0 < len(name) <= MAX_MODEL_LENGTH:
        raise PackError(f"the model pack's folder is named {name!r}; give it a plain name")
    return name


def load_pack(pack: str) -> Analysis:
    """Load a model pack for the CPU, and try both networks.

    Args:
        pack: a folder of .onnx files, or the name of a pack, which insightface keeps below
            ~/.insightface/models and downloads if it is not there.

    Raises:
        PackError: insightface is not installed, or the pack cannot be had, or does not fit.
    """
    if len(Path(pack).parts) > 1 and not Path(pack).expanduser().is_dir():
        raise PackError(
            f"{pack}: no such folder; expected a folder of .onnx files or a pack's name"
        )
    try:
        from insightface.app import FaceAnalysis
    except ImportError as error:
        raise PackError(
            f"insightface cannot be imported ({error}); "
            "install it with `pip install -r face_server/requirements.txt`"
        ) from None
    try:
        loaded = FaceAnalysis(name=pack, allowed_modules=TASKS, providers=_CPU)
        loaded.prepare(ctx_id=-1, det_size=(SIDE, SIDE))
        analysis: Analysis = loaded
        check(analysis, pack)
    except UserError:
        raise
    except Exception as error:  # each of three packages has errors of its own
        reason = str(error) or "no detector in it"  # which is an assertion there
        raise PackError(
            f"the model pack {pack!r} cannot be loaded: {reason[:200]}; expected a folder of .onnx "
            "files with a detector and an ArcFace model, or the name of a pack of insightface; "
            "after a download that broke off, delete its folder in ~/.insightface/models"
        ) from error
    return analysis


def check(analysis: Analysis, pack: str) -> None:
    """Let both networks look at black.

    Raises:
        PackError: a network is missing, finds no landmarks, or gives no 512 numbers.
    """
    missing = [task for task in TASKS if task not in analysis.models]
    if missing:
        raise PackError(f"the model pack {pack!r} has no model for {missing[0]}")
    if not analysis.models["detection"].use_kps:
        raise PackError(f"the detector of the model pack {pack!r} finds no landmarks")
    analysis.get(np.zeros((SIDE, SIDE, 3), np.uint8), MAX_FACES)
    crop = np.zeros((CROP_SIDE, CROP_SIDE, 3), np.uint8)
    shape = analysis.models["recognition"].get_feat(crop).shape
    if shape != (1, EMBEDDING_SIZE):
        raise PackError(
            f"the model pack {pack!r} gives embeddings of {shape[-1]} numbers, "
            f"{EMBEDDING_SIZE} were expected"
        )


def read_square(content: bytes) -> tuple[npt.NDArray[np.uint8], Placement]:
    """Decode a picture of any mode; EXIF does not turn it, since boxes are of what was sent.

    Returns:
        Pixels uint8 (SIDE, SIDE, 3), red first, and where the picture lies in them.

    Raises:
        ImageError: the bytes are no picture, or a damaged or a huge one.
    """
    with opened(content, LIMITS) as picture:
        picture.stored.load()  # in this block, which knows the errors of damaged files
        square, placement = on_square(plain(picture.stored), SIDE)
    return np.asarray(square), placement


def find_faces(
    analysis: Analysis, pixels: npt.NDArray[np.uint8], placement: Placement
) -> list[FaceArrays]:
    """Find the faces of what `read_square` returns, in insightface's order: the surest first."""
    blue_first = np.ascontiguousarray(pixels[:, :, ::-1])
    return [_arrays(face, placement) for face in analysis.get(blue_first, MAX_FACES)]


def _arrays(face: InsightFace, placement: Placement) -> FaceArrays:
    return {
        "bbox": placement.to_picture(face.bbox.reshape(2, 2)).reshape(4),
        "det_score": np.float64(face.det_score),
        "landmark": placement.to_picture(face.kps),
        "normed_embedding": np.asarray(face.normed_embedding, np.float32),
    }
