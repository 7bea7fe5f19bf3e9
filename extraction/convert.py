"""The original project's pickled data files, rewritten in our format without running code."""

from pathlib import Path

import numpy as np

from data_loader.data_files import holds_objects, open_original, refuse_lengths
from data_loader.original_data import OriginalFace
from extraction import adience, imdb_wiki
from extraction.cleaning_rules import KeptFace
from extraction.data_file import DataFiles, row_dtype, to_disk, write_rows, writing
from extraction.image_labels import ImageLabels
from extraction.originals import backup_of_original, keep
from utils.errors import DataError
from utils.files import atomic_write, refuse_unwritable
from utils.locks import remove_leftovers
from utils.log import get_logger

DATASETS = (*imdb_wiki.NAMES, "Adience")

_logger = get_logger("convert")


def convert(dataset: str, data_dir: Path | str) -> list[Path]:
    """Rewrite the data files of 'imdb', 'wiki' or 'Adience' that the original project made.

    The old file stays beside the new one as `data.original.npy`. Of Adience both image types are
    converted, as far as they are there.

    Returns:
        the files that were rewritten; none if all are in our format already.

    Raises:
        DataError: unknown data set, no data file, one that is of neither format, a backup that is
            there already, no space left.
    """
    if dataset not in DATASETS:
        raise DataError(f"dataset is {dataset!r}, expected one of {', '.join(DATASETS)}")
    is_adience = dataset == "Adience"
    folder = Path(data_dir) / ("Adience" if is_adience else f"{dataset}_crop")
    image_types = list(adience.IMAGE_PATHS) if is_adience else [None]
    paths = [DataFiles(folder, image_type).data for image_type in image_types]
    there = [path for path in paths if path.is_file()]
    if not there:
        raise DataError(f"{' and '.join(map(str, paths))}: no such file; nothing to convert")
    originals = [path for path in there if holds_objects(path)]
    if not originals:
        _logger.info(
            f"{' and '.join(map(str, there))}: in this project's format already, nothing to convert"
        )
    if originals:
        refuse_unwritable(folder)
        remove_leftovers(folder)
    for path in originals:
        _convert(path, is_adience)
    return originals


def _convert(path: Path, is_adience: bool) -> None:
    backup = backup_of_original(path)
    faces, columns = open_original(path, is_adience)
    refuse_lengths(path, np.arange(len(faces)), columns["embedding"])
    images = [_labels(face, path.parent.name) for face in faces]
    kept = (KeptFace(face.embedding, face.det_score) for face in faces)
    with writing(path), atomic_write(path) as file:
        write_rows(file, row_dtype(images), zip(images, kept, strict=True))
        to_disk(file)
        if backup is not None:
            keep(path, backup)
    _logger.info(f"{path}: {len(images):,} faces; the original file is kept as {backup}")


def _labels(face: OriginalFace, folder_name: str) -> ImageLabels:
    image_path = relative_path(face.image_path, folder_name)
    return ImageLabels(image_path, face.subject, face.age, face.gender, face.fold)


def relative_path(image_path: str, folder_name: str) -> str:
    """Cut a path down to what comes after the folder of the data set.

    >>> relative_path("./data/Adience/aligned/7@N01/a.jpg", "Adience")
    'aligned/7@N01/a.jpg'
    >>> relative_path("01/a.jpg", "imdb_crop")
    '01/a.jpg'
    """
    parts = image_path.split("/")
    if folder_name in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index(folder_name)
        return "/".join(parts[last + 1 :])
    return image_path.lstrip("/").removeprefix("./")
