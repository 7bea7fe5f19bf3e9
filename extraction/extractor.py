"""`extractor.json`: what made the embeddings of a data set, kept beside them.

A folder can hold answers of two kinds, of resized images and of images sent as they are. The file
describes the kind of the last extraction, and that of the other kind under "others". An extraction
that went on with another server notes under "also" each further server, with its model if it tells
one, and the date; the rest stays that of the server it began with.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field

from extraction.same_network import OtherNetworkError
from utils.errors import DataError
from utils.files import read_json, write_json
from utils.problems import JsonObject, problems_in

EXTRACTOR_NAME = "extractor.json"
OTHERS, ALSO = "others", "also"

Extractor = dict[str, Any]
"""What made the embeddings of one kind: server, model if known, resize, jpeg_quality, date."""


class _Record(JsonObject):
    """What is read of the entry of one kind."""

    model_config = ConfigDict(extra="ignore")

    server: str = ""
    model: str = ""
    resize: int | None = None
    jpeg_quality: int | None = None
    also: list[dict[str, Any]] = Field(default_factory=list)


class _File(_Record):
    others: list[_Record] = Field(default_factory=list)


def new_extractor(
    server: str, model: str | None, resize: int | None, jpeg_quality: int
) -> Extractor:
    """Describe an extraction that begins; `server` is its URL or the name of its image."""
    return (
        {"server": server}
        | ({} if model is None else {"model": model})
        | {
            "resize": resize or None,
            "jpeg_quality": jpeg_quality if resize else None,
            "date": datetime.now(UTC).date().isoformat(),
        }
    )


def read_extractors(dataset_dir: Path) -> list[Extractor]:
    """Read what made the embeddings in a folder, one entry a kind, the last extraction's first.

    Raises:
        DataError: the file is no record of an extraction.
        ConfigError: the file is no JSON.
    """
    path = dataset_dir / EXTRACTOR_NAME
    if not path.is_file():
        return []
    content = read_json(path)
    if problems := problems_in(_File, content):
        raise DataError(f"{path} is no record of an extraction ({problems[0]}); move it away")
    others = content.pop(OTHERS, [])
    return [content, *others]


def update_extractor(dataset_dir: Path, new: Extractor, num_done: int) -> Extractor:
    """Write the record of an extraction that begins or goes on.

    Args:
        dataset_dir: folder of the data set.
        new: made by `new_extractor`.
        num_done: images that have an answer of this kind already.

    Returns:
        the entry of this kind.

    Raises:
        DataError: the answers that are there were made with another size or quality.
        OtherNetworkError: they were made by another model.
    """
    before = read_extractors(dataset_dir)
    same_kind = [one for one in before if bool(one.get("resize")) == bool(new["resize"])]
    others = [one for one in before if one not in same_kind]
    current = new
    if same_kind and num_done:
        _refuse_difference(same_kind[0], new, dataset_dir / EXTRACTOR_NAME, num_done)
        current = _continued(same_kind[0], new)
    if [current, *others] != before:
        content = current | ({OTHERS: others} if others else {})
        write_json(content, dataset_dir / EXTRACTOR_NAME)
    return current


def _continued(old: Extractor, new: Extractor) -> Extractor:
    """Keep the entry of an extraction that goes on, and add the server if it is another one."""
    also: list[Extractor] = old.get(ALSO, [])
    known = [(one.get("server"), one.get("model")) for one in (old, *also)]
    has_learned_model = old.get("server") == new["server"] and "model" not in old
    if has_learned_model or (new["server"], new.get("model")) in known:
        return new | old
    added = {key: new[key] for key in ("server", "model", "date") if key in new}
    return old | {ALSO: [*also, added]}


def _refuse_difference(old: Extractor, new: Extractor, path: Path, num_done: int) -> None:
    for key in ("resize", "jpeg_quality"):
        if key in old and old[key] != new[key]:
            raise DataError(
                f"{path}: the {num_done:,} images that are done were sent "
                f"with {key}={old[key]}, asked for is {key}={new[key]}; go on with {old[key]}, or "
                "move the .RESIZED.pkl files and extractor.json away"
            )
    if "model" in new and old.get("model", new["model"]) != new["model"]:
        raise OtherNetworkError(
            f"{path}: the {num_done:,} images that are done are of the "
            f"network {old['model']!r}, the server is {new['model']!r}; start the server of "
            "before, or move the .pkl files and extractor.json away to begin anew"
        )


def extractor_of_done(
    extractors: Sequence[Extractor], resize: int | None, num_done: int
) -> Extractor | None:
    """Return what made the answers that are there.

    Returns:
        the entry of their kind, else of the other kind; {} if none tells of them, as with files of
        the original project; None without answers.
    """
    if not num_done:
        return None
    return next(iter([*extractors_of_kind(extractors, resize or 0), *extractors, {}]))


def extractors_of_kind(extractors: Sequence[Extractor], resize: int) -> list[Extractor]:
    """Pick the entries of resized images, or of images sent as they are (`resize` 0)."""
    known = [one for one in extractors if "resize" in one]
    return [one for one in known if bool(one["resize"]) == bool(resize)]


def choose_extractor(
    extractors: Sequence[Extractor], dataset_dir: Path, resize: int
) -> Extractor | None:
    """Return the entry that a cleaning with `resize` is about, if there is one.

    Raises:
        DataError: the images were resized to another size.
    """
    if same_kind := extractors_of_kind(extractors, resize):
        found = same_kind[0]
        if resize and found["resize"] != resize:
            raise DataError(
                f"{dataset_dir / EXTRACTOR_NAME}: the embeddings were extracted with "
                f"resize={found['resize']}: clean with resize={found['resize']}"
            )
        return found
    return next((one for one in extractors if "resize" not in one), None)
