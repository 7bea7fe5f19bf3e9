"""Which image of a face server is started: two networks must not meet in one data set."""

from collections.abc import Callable
from dataclasses import dataclass

from extraction.extractor import Extractor
from extraction.options import ExtractionOptions

IMAGE = "face-server"
"""Ours; see face_server/README.md."""

PUBLIC_IMAGE = "tae898/face-detection-recognition"
"""The insightface container, whose network differs from those of our packs."""

_PACKS_VOLUME = "face-models:/home/app/.insightface"
_FOR_DOWNLOADS = ("--env=DOWNLOAD_MIRROR", "--env=HTTPS_PROXY", "--env=NO_PROXY")
"""Variables that docker passes on where they are set."""


@dataclass(frozen=True, slots=True)
class ServerImage:
    """An image of a face server, and how it is started.

    Attributes:
        name: of the image, which `extractor.json` records.
        reason: why it is this one, for the log.
        remedy: what to do where it cannot be had.
        options: of `docker run`.
        arguments: of the program in the image.
    """

    name: str
    reason: str
    remedy: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


def choose_image(
    options: ExtractionOptions, before: Extractor | None, is_here: Callable[[str], bool]
) -> ServerImage:
    """Choose the named image, else that of the embeddings that are there, else ours if it is here.

    Args:
        options: of the extraction.
        before: what made the answers that are there, see `extractor.extractor_of_done`.
        is_here: tells whether an image is on this machine.
    """
    if options.docker_image:
        return _image(options.docker_image, "named by docker_image=", before)
    if before is not None:
        name = _image_of(before, options.cuda)
        return _image(name, "whose network made the embeddings that are there", before)
    ours = _variant(IMAGE, options.cuda)
    if is_here(ours):
        return _image(ours, "which is on this machine", before)
    return _image(
        _variant(PUBLIC_IMAGE, options.cuda),
        f"since there is no {ours} on this machine (docker downloads it first, which takes "
        "minutes, if it is not here)",
        before,
    )


def _variant(name: str, cuda: bool) -> str:
    return f"{name}-cuda" if cuda else name


def _image_of(before: Extractor, cuda: bool) -> str:
    """Return the image of the network that an extraction began with.

    Only our server tells the name of its model; files of the original project are of the public
    image.
    """
    server = str(before.get("server", ""))
    for known in (IMAGE, PUBLIC_IMAGE):
        if server in (known, _variant(known, cuda=True)):
            return _variant(known, cuda)
    if server and "://" not in server:
        return server
    return _variant(IMAGE if "model" in before else PUBLIC_IMAGE, cuda)


def _image(name: str, reason: str, before: Extractor | None) -> ServerImage:
    is_cuda = name.partition(":")[0].endswith("-cuda")
    if name.partition(":")[0] in (IMAGE, _variant(IMAGE, cuda=True)):
        options = ("--pull", "never", "-v", _PACKS_VOLUME, *_FOR_DOWNLOADS)
        pack = () if before is None or "model" not in before else ("--pack", str(before["model"]))
        remedy = f"build it in the folder of this repository with {_build(is_cuda)}"
        return ServerImage(name, reason, remedy, options, pack)
    remedy = f"get the image with `docker pull {name}`, or name another one with docker_image="
    if name == _variant(PUBLIC_IMAGE, is_cuda):
        away = "move the .pkl files and extractor.json, of its network, away, and "
        anew = f"{'' if before is None else away}begin with our own"
        remedy += f"; or {anew}, which is used once {_build(is_cuda)} has built it"
    return ServerImage(name, reason, remedy)


def _build(is_cuda: bool) -> str:
    """Return the command that builds our image."""
    tag, file = _variant(IMAGE, is_cuda), _variant("face_server/Dockerfile", is_cuda)
    return f"`docker build -f {file} -t {tag} .`"
