"""Loads what predicts: the models, and what finds faces."""

from pathlib import Path

from base.device import limited_threads
from faces.client import FaceServer, FaceSource
from serving.engine import InferenceEngine
from serving.models import choose_mc_dtype, choose_served_device, load_pair
from serving.predictor import Predictor
from serving.settings import ServerSettings, read_settings


def load_predictor(
    age: Path | str = "models/age.pth",
    gender: Path | str = "models/gender.pth",
    face_server_url: str | None = None,
    device: str = "auto",
    threads: int = 0,
) -> Predictor:
    """Load models, and the networks that find faces.

    Args:
        age: file of the age model.
        gender: file of the gender model.
        face_server_url: face server that finds the faces; without it there are only embeddings to
            predict.
        device: "auto", "cpu" or "cuda", where all networks run.
        threads: processor threads of the models; 0 takes all cores, or OMP_NUM_THREADS.

    Raises:
        UserError: an argument or a model is wrong or missing.
    """
    given = {
        "age_model": age,
        "gender_model": gender,
        "face_server_url": face_server_url,
        "device": device,
        "threads": threads,
    }
    settings = read_settings(
        {name: value for name, value in given.items() if value is not None},
        environment={},
        call=lambda name: name.removesuffix("_model"),
    )
    return predictor_of(settings, bool(face_server_url))


def predictor_of(settings: ServerSettings, has_faces: bool = True) -> Predictor:
    """Load what settings name.

    Args:
        settings: of the server, or as of `load_predictor`.
        has_faces: whether anything is to find faces.

    Raises:
        UserError: as `load_predictor`.
    """
    device = choose_served_device(settings.device)
    mc_dtype = choose_mc_dtype(settings.mc_precision, device)
    with limited_threads(1):  # a second thread that had helpers would make the engine's slow
        pair = load_pair(settings.age_model, settings.gender_model, device, mc_dtype)
    source = _face_source(settings) if has_faces else None
    return Predictor(InferenceEngine(pair, settings.threads), source, settings.image_size)


def _face_source(settings: ServerSettings) -> FaceSource:
    return FaceServer(settings.face_server_url, settings.face_timeout_s)
