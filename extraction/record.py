"""What made the embeddings of a data set, kept beside them in `extractor.json`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extraction.embeddings import EmbeddingStore, MissingError, UnusableError
from extraction.pipeline import Settings, request_for
from extraction.same_network import OtherNetworkError, Reference
from faces.errors import ImageError
from utils.errors import DataError
from utils.files import read_json, write_json
from utils.log import get_logger

RECORD_NAME = "extractor.json"
OTHERS = "others"
"""Key of the records of what was extracted with other settings into the same folder."""

ALSO = "also"
"""Key of the further servers of an extraction that went on with another one: each with its server,
model if it tells one, and date. The record itself stays that of the server it began with."""

logger = get_logger("extraction")

Record = dict[str, Any]


def new_record(server: str, model: str | None, settings: Settings) -> Record:
    """Describe an extraction; `server` is its URL or the name of its image."""
    record: Record = {"server": server}
    if model is not None:
        record["model"] = model
    return record | {
        "resize": settings.resize or None,
        "jpeg_quality": settings.jpeg_quality if settings.resize else None,
        "date": datetime.now(UTC).date().isoformat(),
    }


def read_record(dataset_dir: Path) -> Record | None:
    """Read the record of a data set's folder; None when there is none.

    Raises:
        DataError: the file is no record.
        ConfigError: the file is no JSON.
    """
    path = dataset_dir / RECORD_NAME
    if not path.is_file():
        return None
    content = read_json(path)
    others = content.get(OTHERS, []) if isinstance(content, dict) else None
    if not isinstance(others, list) or not all(isinstance(other, dict) for other in others):
        raise DataError(f"{path} is no record of an extraction; move it away")
    return dict(content)


def update_record(dataset_dir: Path, new: Record, num_done: int) -> Record:
    """Write the record of an extraction that begins or goes on, and return it.

    What the folder holds of the other sort (resized, or files sent as they are) keeps its record
    under "others"; of an extraction that goes on, the first record stays, and what another server
    adds to it is noted under "also".

    Args:
        dataset_dir: folder of the data set.
        new: made by `new_record`.
        num_done: images that have an answer of this sort already.

    Raises:
        DataError: the answers that are there were made with another size or quality.
        OtherNetworkError: they were made by another model.
    """
    records = _apart(read_record(dataset_dir))
    mine = [record for record in records if bool(record.get("resize")) == bool(new["resize"])]
    others = [record for record in records if record not in mine]
    current = new
    if mine and num_done:
        _compare(mine[0], new, dataset_dir, num_done)
        current = _going_on(mine[0], new)
    written = current | ({OTHERS: others} if others else {})
    if written != read_record(dataset_dir):
        write_json(written, dataset_dir / RECORD_NAME)
    return written


def _apart(record: Record | None) -> list[Record]:
    if record is None:
        return []
    others: list[Record] = record.pop(OTHERS, [])
    return [record, *others]


def _going_on(old: Record, new: Record) -> Record:
    """Keep the record of an extraction that goes on, and add the server if it is another one."""
    if old.get("server") == new["server"] and "model" not in old:
        return new | old  # the server has learned to tell its model
    also: list[Record] = old.get(ALSO, [])
    known = [(one.get("server"), one.get("model")) for one in (old, *also)]
    if (new["server"], new.get("model")) in known:
        return new | old
    added = {key: new[key] for key in ("server", "model", "date") if key in new}
    return old | {ALSO: [*also, added]}


def _compare(old: Record, new: Record, dataset_dir: Path, num_done: int) -> None:
    for key in ("resize", "jpeg_quality"):
        if key in old and old[key] != new[key]:
            raise DataError(
                f"{dataset_dir / RECORD_NAME}: the {num_done:,} images that are done were sent "
                f"with {key}={old[key]}, asked for is {key}={new[key]}; go on with {old[key]}, or "
                "move the .RESIZED.pkl files and extractor.json away"
            )
    if "model" in new and old.get("model", new["model"]) != new["model"]:
        raise OtherNetworkError(
            f"{dataset_dir / RECORD_NAME}: the {num_done:,} images that are done are of the "
            f"network {old['model']!r}, the server is {new['model']!r}; start the server of "
            "before, or move the .pkl files and extractor.json away to begin anew"
        )


def find_reference(dataset_dir: Path, done: Sequence[str], settings: Settings) -> Reference | None:
    """Look among the images that are done for one with a face, to send again.

    Returns:
        the request and the embedding; None, with a warning if images are done, when no
            answer shows a face whose image can be sent.
    """
    store = EmbeddingStore(dataset_dir, settings.resize or 0)
    for path in done:
        try:
            faces = store.read(path)
            if faces:
                body = request_for(dataset_dir / path, settings)
                return Reference(body, faces[0].embedding, path)
        except (MissingError, UnusableError, ImageError):
            continue
    if done:
        logger.warning(
            f"{dataset_dir}: none of the {len(done):,} images that are done shows a face and is "
            "there, so that it cannot be seen whether the server has the network of before"
        )
    return None
