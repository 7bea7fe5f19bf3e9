"""Loads what predicts: the models, and what finds faces."""

from pathlib import Path

from base.device import limited_threads
from face_networks.analyzer import FaceAnalyzer
from faces.client import FaceServer, FaceSource
from serving.engine import InferenceEngine, usable_threads
from serving.models import choose_mc_dtype, choose_served_device, load_pair
from serving.predictor import Predictor
from serving.settings import ServerSettings, read_settings


def load_predictor(
    age: Path | str = "models/age.pth",
    gender: Path | str = "models/gender.pth",
    face_pack: Path | str | None = None,
    face_server_url: str | None = None,
    device: str = "auto",
    threads: int = 0,
) -> Predictor:
    """Load models, and the networks that find faces.

    Args:
        age: file of the age model.
        gender: file of the gender model.
        face_pack: name or folder of the model pack that finds and embeds faces in this process; it
            must be the one that the models were trained with.
        face_server_url: face server that does so instead; without either there are only embeddings
            to predict.
        device: "auto", "cpu" or "cuda", where all networks run.
        threads: processor threads of the models; 0 takes all cores, or OMP_NUM_THREADS, and beside
            a face pack on the CPU those that it leaves.

    Raises:
        UserError: an argument, a model or the pack is wrong or missing, or the optional packages
            that run packs are.
    """
    given = {
        "age_model": age,
        "gender_model": gender,
        "face_pack": face_pack and str(face_pack),
        "face_server_url": face_server_url,
        "device": device,
        "threads": threads,
    }
    settings = read_settings(
        {name: value for name, value in given.items() if value is not None},
        environment={},
        call=lambda name: name.removesuffix("_model"),
    )
    has_faces = bool(face_pack or face_server_url)
    return predictor_of(settings, None, has_faces)


def predictor_of(
    settings: ServerSettings, workers: int | None, has_faces: bool = True
) -> Predictor:
    """Load what settings name.

    Args:
        settings: of the server, or as of `load_predictor`.
        workers: as of `FaceAnalyzer`, if the face networks run in this process.
        has_faces: whether anything is to find faces.

    Raises:
        UserError: as `load_predictor`.
    """
    device = choose_served_device(settings.device)
    mc_dtype = choose_mc_dtype(settings.mc_precision, device)
    with limited_threads(1):  # a second thread that had helpers would make the engine's slow
        pair = load_pair(settings.age_model, settings.gender_model, device, mc_dtype)
    source = _face_source(settings, workers) if has_faces else None
    threads = settings.threads or _threads_beside(source)
    return Predictor(InferenceEngine(pair, threads), source, settings.image_size)


def _threads_beside(source: FaceSource | None) -> int:
    """Return how many threads the face networks leave to the models.

    Threads of a model that wait for each other on cores that are taken wait for long.
    """
    threads = usable_threads()
    if isinstance(source, FaceAnalyzer) and source.device == "cpu":
        return max(1, threads - source.workers)
    return threads


def _face_source(settings: ServerSettings, workers: int | None) -> FaceSource:
    if not settings.face_pack:
        return FaceServer(settings.face_server_url, settings.face_timeout_s)
    return FaceAnalyzer(settings.face_pack, settings.device, workers)
