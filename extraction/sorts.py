"""Which embeddings a cleaning is about: of resized images, or of images sent as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from extraction.cleaned import Record, missing_label
from extraction.embeddings import RESIZED_SUFFIX, EmbeddingStore
from extraction.record import OTHERS, RECORD_NAME, read_record
from utils.errors import DataError

Extraction = dict[str, Any]


def extractions_of(folder: Path) -> list[Extraction]:
    """Give the records of what was extracted into a folder.

    It can hold embeddings of both sorts, of resized images and of images sent as they are.
    """
    record = read_record(folder)
    if record is None:
        return []
    others = record.pop(OTHERS, [])
    return [record, *others]


def of_sort(extractions: Sequence[Extraction], resize: int) -> list[Extraction]:
    """Pick the records of resized images, or of images sent as they are (`resize` 0)."""
    known = [one for one in extractions if "resize" in one]
    return [one for one in known if bool(one["resize"]) == bool(resize)]


def choose_extraction(
    extractions: Sequence[Extraction], folder: Path, resize: int
) -> Extraction | None:
    """Give the record of the extraction that the cleaning is about, if there is one.

    Raises:
        DataError: the images were resized to another size.
    """
    if same_sort := of_sort(extractions, resize):
        found = same_sort[0]
        if resize and found["resize"] != resize:
            raise DataError(
                f"{folder / RECORD_NAME}: the embeddings were extracted with "
                f"resize={found['resize']}: clean with resize={found['resize']}"
            )
        return found
    return next((one for one in extractions if "resize" not in one), None)


def refuse_nothing_stored(
    records: Sequence[Record], store: EmbeddingStore, extract_command: str
) -> None:
    """Stop before any work when there is nothing to work on.

    Raises:
        DataError: no image of the data set has embeddings.
    """
    paths = [record.image_path for record in records if missing_label(record) is None]
    if not paths:
        raise DataError(
            f"{store.folder}: none of the {len(records):,} images in the label files has "
            "an age and a gender"
        )
    if any(map(store.has, paths)):
        return
    _refuse_other_sort(paths, store)
    if not any((store.folder / path).is_file() for path in paths):
        raise DataError(
            f"{store.folder} holds none of the images that its label files name, such as "
            f"{paths[0]}; unpack the images there"
        )
    raise DataError(
        f"{store.folder} holds no embeddings yet; extract them first: "
        f'python3 -c "from utils.scripts import *; {extract_command}"'
    )


def _refuse_other_sort(paths: Sequence[str], store: EmbeddingStore) -> None:
    """Tell the one who asks for one sort of embeddings that the other sort is there.

    Raises:
        DataError: it is.
    """
    if store.resize and any(map(EmbeddingStore(store.folder, 0).has, paths)):
        raise DataError(
            f"{store.folder} holds embeddings of images sent as they are only, says "
            f"{RECORD_NAME}; clean with resize=0"
        )
    if not store.resize and any(map(EmbeddingStore(store.folder, 1).has, paths)):
        raise DataError(
            f"{store.folder} holds embeddings of resized images only (*{RESIZED_SUFFIX}); clean "
            "with the resize that the extraction was called with, such as resize=640"
        )
