"""Where a model pack is: in a folder of the user's, among insightface's, or on the web."""

import shutil
import zlib
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import BadZipFile, ZipFile, ZipInfo

from faces.wire_decode import MAX_MODEL_LENGTH
from http_client.download import KnownFile, download
from utils.errors import UserError
from utils.files import atomic_write, read_json, refuse_unwritable
from utils.locks import hold_when_free
from utils.log import get_logger
from utils.paths import user_path
from utils.text import nearest, shown

PACKS_DIR = "~/.insightface/models"
"""Where insightface keeps its packs, each in a folder of its name."""

MAX_UNPACKED_BYTES = 2**30
"""Of the networks of a pack together; the largest known one has 430 MB."""

_REGISTRY = Path(__file__).with_name("packs.json")
_NO_ZIP = (BadZipFile, zlib.error, EOFError, RuntimeError)
"""What zipfile raises for damaged, encrypted or exotic archives."""

logger = get_logger("face_networks")


class PackError(UserError):
    """A model pack is missing, or lacks what is needed of it."""


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


def find_pack(pack: str) -> Path:
    """Return the folder of a model pack, with its .onnx files; a known pack is downloaded once.

    Args:
        pack: a folder, or a name: of a folder below ~/.insightface/models, or of a known pack.

    Raises:
        PackError: there is none.
        DownloadError, DataError, PathError: it cannot be downloaded, or not be stored.
    """
    given = user_path(pack, "the model pack")
    if found := _networks_in(given):
        return found
    if str(given) != given.name or given.name == "..":
        problem = "holds no .onnx files" if given.is_dir() else "no such folder"
        raise PackError(f"{pack}: {problem}; expected a folder of .onnx files or a pack's name")
    kept = user_path(PACKS_DIR, "the folder of packs") / given
    if found := _networks_in(kept):
        return found
    if pack not in known_packs():
        raise PackError(
            f"{shown(pack)} is no folder of .onnx files, is not in {kept.parent}, and is no known "
            f"model pack, {nearest(pack, known_packs())}"
        )
    return _install(pack, kept)


@cache
def known_packs() -> dict[str, dict[str, Any]]:
    """Read the packs that can be downloaded, by their names, and what is known of each."""
    packs: dict[str, dict[str, Any]] = read_json(_REGISTRY)
    return packs


def _networks_in(folder: Path) -> Path | None:
    """Return the folder that holds the .onnx files; antelopev2's archive has one in its folder."""
    for place in (folder, folder / folder.name):
        if next(place.glob("*.onnx"), None) is not None:
            return place
    return None


def _install(name: str, folder: Path) -> Path:
    """Download a known pack and unpack it, once for all processes that want it."""
    refuse_unwritable(folder.parent)
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = folder.with_name(f".{name}.lock")
    with hold_when_free(lock, lambda: logger.info(f"another process is fetching {name}")):
        if found := _networks_in(folder):
            return found
        if folder.exists():
            raise PackError(f"{folder} holds no .onnx files; move it away, to have it made anew")
        _download(name, folder)
    return folder


def _download(name: str, folder: Path) -> None:
    known = known_packs()[name]
    logger.info(
        f"downloading the model pack {name} ({known['description']}) to {folder}; its licence: "
        f"{known['licence']}"
    )
    archive = folder.with_name(f"{name}.zip")
    file = KnownFile(known["url"], known["size"], known["sha256"])
    is_ours = download(file, archive)
    try:
        unpack(archive, folder)
    except OSError as error:
        raise PackError(f"{folder} cannot be written: {error.strerror}; make room") from error
    if is_ours:  # else the user, or insightface, put it there
        archive.unlink()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the .onnx files of a pack's archive into a new folder, whole or not at all.

    Raises:
        PackError: it is no such archive.
        OSError: the disk takes no more.
    """
    begun = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(begun, ignore_errors=True)
    try:
        _unpack_members(archive, begun)
        begun.rename(folder)
    except _NO_ZIP as error:
        raise PackError(f"{archive} is damaged ({error}); delete it and call again") from None
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _unpack_members(archive: Path, folder: Path) -> None:
    with ZipFile(archive) as opened:
        for name, member in _members(opened, archive).items():
            with opened.open(member) as packed, atomic_write(folder / name) as stream:
                shutil.copyfileobj(packed, stream, 2**20)


def _members(opened: ZipFile, archive: Path) -> dict[str, ZipInfo]:
    """Return the .onnx files of an archive by their names without folders.

    Raises:
        PackError: there is none, two have the same name, or they are too large.
    """
    found = [info for info in opened.infolist() if info.filename.endswith(".onnx")]
    members = {PurePosixPath(info.filename).name: info for info in found}
    size = sum(info.file_size for info in found)
    if not found or len(members) < len(found) or size > MAX_UNPACKED_BYTES:
        raise PackError(
            f"{archive} holds {len(found)} .onnx files of {size:,} bytes with {len(members)} "
            f"different names; expected were some, each once, of up to {MAX_UNPACKED_BYTES:,} bytes"
        )
    return members
