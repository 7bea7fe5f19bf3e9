"""Downloads of known bytes: continued where they broke off, and whole or not at all."""

import os
import re
import shutil
import sys
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPResponse
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit
from urllib.request import OpenerDirector

from tqdm import tqdm

from http_client.errors import AnswerError, ServerAwayError
from http_client.retry import RetryPolicy
from http_client.web import chunks, open_url, url_opener
from utils.addresses import server_url
from utils.errors import UserError
from utils.files import refuse_unwritable, sha256_of
from utils.locks import hold_when_free
from utils.log import get_logger
from utils.text import cut

MIRROR = "DOWNLOAD_MIRROR"
"""Variable that names a URL from which files are taken instead, each by its own name."""

RETRY = RetryPolicy((1.0, 3.0, 10.0))
_RANGE = re.compile(r"bytes ([0-9]{1,15})-[0-9]{1,15}/([0-9]{1,15})")
_GO_ON = "call again to go on with what has come"
_OTHER_PLACE = f"name a place that has it, such as a mirror of yours, in the variable {MIRROR}"

logger = get_logger("download")


class DownloadError(UserError):
    """A file cannot be had from the web."""


@dataclass(frozen=True, slots=True)
class KnownFile:
    """A file on the web, and how its bytes are known.

    Attributes:
        url: where it is; http or https.
        size: in bytes.
        sha256: of its bytes, in hexadecimal.
    """

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The last part of its URL.

        >>> KnownFile("https://a.org/v1/pack.zip?raw=1", 1, "00").name
        'pack.zip'
        """
        return PurePosixPath(urlsplit(self.url).path).name

    def is_at(self, path: Path) -> bool:
        """Check whether a file has these bytes; False where there is none."""
        is_as_long = path.is_file() and path.stat().st_size == self.size
        return is_as_long and sha256_of(path) == self.sha256


def download(
    file: KnownFile, path: Path, mirror: str | None = None, retry: RetryPolicy = RETRY
) -> bool:
    """Fetch a file, unless it is there already; what has come of it before is not asked for again.

    The bytes go to a hidden file beside `path`, which gets its name once size and SHA-256 are
    right. Processes that want the same file at once wait for the one that fetches it.

    Args:
        file: what to fetch.
        path: where to; missing folders are made, and a file of other bytes is replaced.
        mirror: URL of a folder that has the file under the same name; None takes the variable
            DOWNLOAD_MIRROR.
        retry: when a request that failed is sent again.

    Returns:
        True if it was fetched, False if it was there.

    Raises:
        DownloadError: it cannot be had, is another one, or the disk takes no more.
        PathError: the folder cannot be written.
        DataError: the mirror is no URL, or a variable names certificates that are none.
    """
    url = _source(file, os.environ.get(MIRROR, "") if mirror is None else mirror)
    refuse_unwritable(path.parent)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    with hold_when_free(lock, lambda: logger.info(f"{path}: another process is fetching it")):
        if file.is_at(path):
            return False
        try:
            _fetch(file, url, path, retry)
        except (ServerAwayError, AnswerError) as problem:
            raise DownloadError(
                f"{url} cannot be fetched: {_explained(problem)}, or put it at {path} by hand"
            ) from None
        except OSError as error:
            raise DownloadError(f"{path} cannot be written: {error.strerror or error}") from error
    return True


def _source(file: KnownFile, mirror: str) -> str:
    if not mirror:
        return file.url
    return f"{server_url(mirror, 'a mirror', 80).rstrip('/')}/{file.name}"


def _explained(problem: ServerAwayError | AnswerError) -> str:
    """Return why a file did not come, with what to do."""
    if isinstance(problem, AnswerError):
        return f"{problem}; {_OTHER_PLACE}"
    if problem.has_remedy:
        return str(problem)
    return f"{problem}; check the network and its proxy (HTTPS_PROXY), and {_GO_ON}"


def _fetch(file: KnownFile, url: str, path: Path, retry: RetryPolicy) -> None:
    """Fetch a file by way of a part file, which stays when the network fails."""
    part = path.with_name(f".{path.name}.part")
    opener = url_opener()
    found = ""
    if part.is_symlink():  # else what it names would be written
        part.unlink()
    for _ in range(2 if part.exists() else 1):  # what came before may be of another version
        _refuse_full_disk(file, part)
        retry.run(lambda: _fetch_rest(opener, url, file, part))
        found = sha256_of(part)
        if found == file.sha256:
            part.replace(path)
            return
        part.unlink()
    raise DownloadError(
        f"{url} is another file: its SHA-256 is {found}, expected was {file.sha256}; it was "
        f"deleted; {_OTHER_PLACE}"
    )


def _refuse_full_disk(file: KnownFile, part: Path) -> None:
    missing = file.size - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(part.parent).free
    if free < missing:
        raise DownloadError(
            f"{part.parent} has {free / 1e6:,.0f} MB free, {file.name} needs "
            f"{missing / 1e6:,.0f} MB; make room"
        )


def _fetch_rest(opener: OpenerDirector, url: str, file: KnownFile, part: Path) -> None:
    """Ask for the bytes of a file that the part file lacks, and write them as they come.

    Raises:
        ServerAwayError: no answer came, or it broke off.
        AnswerError: it is not the file, which its size tells.
    """
    with part.open("ab") as stream:
        if stream.tell() > file.size:
            stream.truncate(0)
        if stream.tell() == file.size:
            return
        with open_url(opener, url, os.fstat(stream.fileno()).st_size) as response:
            stream.truncate(_start(response, stream, file.size))
            _write(response, stream, file)
            os.fsync(stream.fileno())


def _start(response: HTTPResponse, stream: IO[bytes], size: int) -> int:
    """Return the place of an answer's first byte in the file.

    Raises:
        AnswerError: it is another file, or not the part that was asked for.
    """
    if response.status == HTTPStatus.OK:
        announced = response.headers.get("Content-Length", str(size))
        if announced != str(size):
            raise _other_size(announced, size)
        return 0
    span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != HTTPStatus.PARTIAL_CONTENT or span is None:
        raise AnswerError(f"HTTP {response.status}", "not the file", is_temporary=False)
    if int(span[2]) != size:
        raise _other_size(span[2], size)
    if int(span[1]) != stream.tell():
        stream.truncate(0)  # so that the next try asks for the whole
        raise AnswerError(f"HTTP {response.status}", "another part than was asked for")
    return int(span[1])


def _other_size(found: str, size: int) -> AnswerError:
    detail = f"{cut(found, 20)} bytes, expected were {size}"
    return AnswerError("it is another file", detail, is_temporary=False)


def _write(response: HTTPResponse, stream: IO[bytes], file: KnownFile) -> None:
    """Append what comes of a file, and show how far it is."""
    num_bytes = os.fstat(stream.fileno()).st_size
    interval_s = 0.1 if sys.stderr.isatty() else 30
    with tqdm(
        desc=file.name,
        total=file.size,
        initial=num_bytes,
        unit="B",
        unit_scale=True,
        mininterval=interval_s,
    ) as progress:
        for chunk in chunks(response):
            num_bytes += len(chunk)
            if num_bytes > file.size:
                raise _other_size(f"more than {file.size}", file.size)
            stream.write(chunk)
            progress.update(len(chunk))
        stream.flush()
    if num_bytes < file.size:
        raise ServerAwayError("the connection broke off")
