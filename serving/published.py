"""Published models downloaded: checked, opened, and with what to know before using them."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import torch

from http_client.download import KnownFile, download
from serving.models import load_model
from serving.registry import PublishedModels, Served, find_published
from utils.errors import PathError
from utils.files import atomic_write
from utils.log import get_logger

CARD_NAME = "MODEL_CARD.md"

logger = get_logger("models")


def fetch_published(name: str, out_dir: Path, mirror: str | None = None) -> dict[str, Path]:
    """Download published models, each whole or not at all; print and keep their model card.

    Files that are there already are not fetched again. What has come of one before is not either.

    Args:
        name: in `registry.json`.
        out_dir: folder that gets age.pth, gender.pth and MODEL_CARD.md.
        mirror: URL of a folder that has the files under the names they are published by; None
            takes the variable DOWNLOAD_MIRROR, or where they are published.

    Returns:
        the files, by "age" and "gender".

    Raises:
        UserError: no such models are known.
        PathError: another file has the name of one, or the folder cannot be written.
        DownloadError, DataError: as of `http_client.download.download`.
        CheckpointError: a file cannot be opened as a model.
    """
    models = find_published(name)
    files = {kind: file.known for kind, file in models.files.items()}
    paths = {kind: out_dir / f"{kind}{_suffix(file)}" for kind, file in files.items()}
    for kind, path in paths.items():
        _refuse_other(files[kind], path, name)
    logger.info(f"{name}: {models.description}")
    for kind, path in paths.items():
        is_new = download(files[kind], path, mirror)
        load_model(kind, path, torch.device("cpu"), torch.float32)
        logger.info(f"{path}: {'fetched' if is_new else 'is there already'}, and can be opened")
    card = _model_card(models, paths)
    logger.info(card)
    _keep_card(card, out_dir / CARD_NAME)
    return {str(kind): path for kind, path in paths.items()}


def _suffix(file: KnownFile) -> str:
    return PurePosixPath(file.name).suffix


def _refuse_other(file: KnownFile, path: Path, name: str) -> None:
    """Leave a file alone that somebody trained, or of which nobody knows what it is.

    Raises:
        PathError: there is one.
    """
    if os.path.lexists(path) and not file.is_at(path):
        raise PathError(
            f"{path} is another file than that of {name!r}, and stays as it is; move it away, or "
            "name another folder: out_dir='...'"
        )


def _model_card(models: PublishedModels, paths: Mapping[Served, Path]) -> str:
    """Write in Markdown what to know before using models, and what to start."""
    made_by = models.extractor
    options = "".join(f" --{kind}-model {path}" for kind, path in paths.items())
    is_default = all(path.parent == Path("models") for path in paths.values())
    scores = "\n".join(f"  - {score}" for score in models.scores)
    return f"""
# Model card: {models.description}

- Licence: {models.licence}.
- Intended use: research; not decisions about people.
- Trained on: {", ".join(models.trained_on)}.
- Embeddings: of {made_by.server} ({made_by.model}). Of those of another network, such as
  buffalo_l, these models make confident nonsense.
- Scores, from {models.source}:
{scores}

Start next:

    {models.face_server}
    python app.py{"" if is_default else options}
    python client.py --image-path photo.jpg
"""


def _keep_card(card: str, path: Path) -> None:
    """Write a model card beside the models, unless there is one."""
    try:
        with atomic_write(path, is_new=True) as file:
            file.write(card.lstrip().encode())
    except FileExistsError:
        logger.info(f"{path} is there already, and stays as it is")
