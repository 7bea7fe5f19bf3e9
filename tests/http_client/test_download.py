import hashlib
import shutil
import socket
import threading
from collections import namedtuple
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from certificates import VARIABLES, Authority, needs_openssl, serving_with
from file_server import FileServer, file_server

from http_client import download as download_module
from http_client.download import MIRROR, DownloadError, KnownFile
from http_client.retry import RetryPolicy
from utils.errors import DataError, PathError
from utils.locks import hold

CONTENT = bytes(range(256)) * 4000
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
download = partial(download_module.download, retry=RetryPolicy((0.0, 0.0)))


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (MIRROR, *VARIABLES, *PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server({"/v1/pack.zip": CONTENT}) as running:
        yield running


def known(server: FileServer, content: bytes = CONTENT, path: str = "/v1/pack.zip") -> KnownFile:
    return KnownFile(server.url + path, len(content), hashlib.sha256(content).hexdigest())


def names(folder: Path) -> set[str]:
    """Return what lies in a folder, without the lock files, which go with their locks."""
    return {path.name for path in folder.iterdir()}


def test_a_file_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "packs" / "pack.zip"
    assert download(known(server), path) is True
    assert path.read_bytes() == CONTENT
    assert download(known(server), path) is False
    assert server.asked == [("/v1/pack.zip", None)]
    assert names(path.parent) == {"pack.zip"}


def test_a_file_of_other_bytes_is_replaced(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    path.write_bytes(bytes(len(CONTENT)))
    assert download(known(server), path)
    assert path.read_bytes() == CONTENT


def test_a_download_that_breaks_off_goes_on_where_it_was(
    server: FileServer, tmp_path: Path
) -> None:
    server.breaks_after = [300_000, 200_000]
    assert download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-", "bytes=500000-"]


def test_what_has_come_stays_for_the_next_call(server: FileServer, tmp_path: Path) -> None:
    server.breaks_after = [100_000] * 3
    path = tmp_path / "pack.zip"
    words = r"broke off; check the network and its proxy \(HTTPS_PROXY\), and call again to go on"
    with pytest.raises(DownloadError, match=words):
        download(known(server), path)
    assert names(tmp_path) == {".pack.zip.part"}
    assert download(known(server), path)
    assert path.read_bytes() == CONTENT
    assert server.asked[-1][1] == "bytes=300000-"


def test_a_server_that_knows_no_ranges_is_asked_for_the_whole(
    server: FileServer, tmp_path: Path
) -> None:
    server.knows_ranges = False
    server.breaks_after = [300_000]
    assert download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == CONTENT


def test_another_range_than_was_asked_for_is_not_taken(server: FileServer, tmp_path: Path) -> None:
    server.breaks_after, server.shift = [300_000], 5
    assert download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, "bytes=300000-", None]


@pytest.mark.parametrize("size", [1, 300_000, len(CONTENT), len(CONTENT) + 9])
def test_what_lies_there_of_another_version_does_no_harm(
    server: FileServer, tmp_path: Path, size: int
) -> None:
    (tmp_path / ".pack.zip.part").write_bytes(b"x" * size)
    assert download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / "pack.zip").read_bytes() == CONTENT
    assert names(tmp_path) == {"pack.zip"}


def test_other_bytes_are_refused_and_deleted(server: FileServer, tmp_path: Path) -> None:
    server.files["/v1/pack.zip"] = CONTENT[::-1]
    found = hashlib.sha256(CONTENT[::-1]).hexdigest()
    words = f"another file: its SHA-256 is {found}, expected was .* in the variable {MIRROR}"
    with pytest.raises(DownloadError, match=words):
        download(known(server), tmp_path / "pack.zip")
    assert names(tmp_path) == set()


def test_another_size_is_refused_before_anything_is_written(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/v1/pack.zip"] = CONTENT + b"x"
    words = f"{len(CONTENT) + 1} bytes, expected were {len(CONTENT)}; name a place"
    with pytest.raises(DownloadError, match=words):
        download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / ".pack.zip.part").stat().st_size == 0


def test_no_more_is_written_than_the_file_has(server: FileServer, tmp_path: Path) -> None:
    server.files["/v1/pack.zip"] = CONTENT * 9
    server.tells_length = False
    with pytest.raises(DownloadError, match=f"more than {len(CONTENT)} bytes"):
        download(known(server), tmp_path / "pack.zip")
    assert (tmp_path / ".pack.zip.part").stat().st_size <= len(CONTENT)


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        ([404], "HTTP 404: Not Found; name a place that has it"),
        ([403], "HTTP 403: Forbidden"),
        ([503, 502, 503], "HTTP 503: Service Unavailable"),
        ([204], "HTTP 204: not the file"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(
    server: FileServer, tmp_path: Path, statuses: list[int], words: str
) -> None:
    server.statuses = list(statuses)
    with pytest.raises(DownloadError, match=words) as caught:
        download(known(server), tmp_path / "pack.zip")
    assert str(caught.value).startswith(f"{server.url}/v1/pack.zip cannot be fetched: ")
    assert "\n" not in str(caught.value)
    assert len(server.asked) == len(statuses)


def test_a_server_that_is_busy_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503, 500]
    assert download(known(server), tmp_path / "pack.zip")


@pytest.fixture
def _no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no name of a host be known, 127.0.0.1 aside."""
    known_names = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **named: Any) -> Any:
        if host != "127.0.0.1":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known_names(host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.mark.usefixtures("_no_names")
def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    nowhere = KnownFile("http://127.0.0.1:1/pack.zip", 1, "00")
    with pytest.raises(DownloadError, match="Connection refused; check the network and its proxy"):
        download(nowhere, tmp_path / "pack.zip")
    unknown = KnownFile("http://no.such.host.invalid/pack.zip", 1, "00")
    with pytest.raises(DownloadError, match=r"name no\.such\.host\.invalid is not known; check"):
        download(unknown, tmp_path / "pack.zip")


def test_a_mirror_has_the_file_by_its_name(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/kept/pack.zip"] = CONTENT
    file = KnownFile("http://127.0.0.1:1/gone/pack.zip", len(CONTENT), known(server).sha256)
    assert download(file, tmp_path / "a.zip", f"{server.url}/kept")
    monkeypatch.setenv(MIRROR, f"{server.url}/kept/")
    assert download(file, tmp_path / "b.zip")
    assert server.asked == [("/kept/pack.zip", None)] * 2
    monkeypatch.setenv(MIRROR, "http://me:secret@a/")
    with pytest.raises(DataError) as caught:
        download(file, tmp_path / "c.zip")
    assert "secret" not in str(caught.value)


def test_redirects_are_followed_a_few_times(server: FileServer, tmp_path: Path) -> None:
    server.locations = {f"/{n}": f"/{n + 1}" for n in range(5)} | {"/4": "/v1/pack.zip"}
    assert download(known(server, path="/0"), tmp_path / "pack.zip")
    server.locations["/v1/pack.zip"] = "/0?key=secret"
    with pytest.raises(DownloadError, match="HTTP 302: redirected too often") as caught:
        download(known(server, path="/0"), tmp_path / "other.zip")
    assert "secret" not in str(caught.value)


def test_a_download_that_goes_on_asks_for_its_range_behind_a_redirect(
    server: FileServer, tmp_path: Path
) -> None:
    server.locations, server.breaks_after = {"/latest": "/v1/pack.zip"}, [1000]
    assert download(known(server, path="/latest"), tmp_path / "pack.zip")
    assert server.asked[-1] == ("/v1/pack.zip", "bytes=1000-")


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("file:///etc/hostname", "HTTP 302"),
        ("ftp://127.0.0.1/pack.zip", "HTTP 302"),
        ("http://[::1", "redirected to what is no address"),
        ("http://a b/", "redirected to what is no address"),
        ("http://a:x/", "redirected to what is no address"),
    ],
)
def test_a_redirect_to_another_scheme_or_to_no_address_is_one_line(
    location: str, problem: str, server: FileServer, tmp_path: Path
) -> None:
    server.locations["/v1/pack.zip"] = location
    with pytest.raises(DownloadError, match=problem):
        download(known(server), tmp_path / "pack.zip")


@needs_openssl
def test_over_tls_a_private_authority_counts_and_no_redirect_leads_away(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    context = serving_with(authority.signed("good"))
    with file_server({"/v1/pack.zip": CONTENT}, context) as secure:
        path = tmp_path / "got" / "pack.zip"
        words = "certificate is signed by an authority that is not known here; name a file"
        with pytest.raises(DownloadError, match=words):
            download(known(secure), path)
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        assert download(known(secure), path)
        secure.locations["/away"] = server.url + "/v1/pack.zip"
        with pytest.raises(DownloadError, match="redirected away from https"):
            download(known(secure, path="/away"), tmp_path / "got" / "other.zip")
    assert server.asked == []


@pytest.mark.usefixtures("_no_names")
def test_the_proxy_of_the_shell_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = KnownFile("http://models.invalid/pack.zip", len(CONTENT), known(server).sha256)
    server.files[file.url] = CONTENT  # a proxy gets the whole URL
    monkeypatch.setenv("http_proxy", server.url)
    assert download(file, tmp_path / "pack.zip")
    assert server.asked == [(file.url, None)]
    monkeypatch.setenv("no_proxy", "models.invalid")
    with pytest.raises(DownloadError, match=r"name models\.invalid is not known"):
        download(file, tmp_path / "other.zip")


def test_a_disk_without_room_is_told_before_anything_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9, 9, 1000))
    with pytest.raises(DownloadError, match=r"has 0 MB free, pack\.zip needs 1 MB; make room"):
        download(known(server), tmp_path / "pack.zip")
    assert server.asked == []


def test_a_disk_that_fills_up_is_one_line(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download_module, "_write", fail)
    with pytest.raises(DownloadError, match=r"pack\.zip cannot be written: No space left on"):
        download(known(server), tmp_path / "pack.zip")


def test_a_folder_that_cannot_be_written_is_told(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PathError, match="not a folder"):
        download(known(server), tmp_path / "file" / "pack.zip")
    assert server.asked == []


def test_of_two_at_once_one_fetches_and_the_other_waits(server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "pack.zip"
    held = hold(tmp_path / ".pack.zip.lock")
    assert held is not None
    begin = threading.Barrier(3)

    def fetch() -> bool:
        begin.wait()
        return download(known(server), path)

    with ThreadPoolExecutor(2) as threads:
        results = [threads.submit(fetch) for _ in range(2)]
        begin.wait()
        assert server.asked == []
        held.let_go()
        assert sorted(result.result() for result in results) == [False, True]
    assert len(server.asked) == 1
    assert path.read_bytes() == CONTENT


def test_nothing_that_a_server_says_steers_the_terminal_or_fills_it(
    server: FileServer, tmp_path: Path
) -> None:
    server.locations["/v1/pack.zip"] = "file:///\x1b[31m" + "x" * 5000
    with pytest.raises(DownloadError) as caught:
        download(known(server), tmp_path / "pack.zip")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as threads:

        def answer(said: bytes) -> None:
            client = listener.accept()[0]
            with client:
                client.recv(2**16)
                client.sendall(said)

        url = f"http://127.0.0.1:{listener.getsockname()[1]}/pack.zip"
        length = b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n"
        for said in (b"\x1b[31m no HTTP\r\n\r\n", length):
            threads.submit(answer, said)
            with pytest.raises(DownloadError) as caught:
                download_module.download(
                    KnownFile(url, 9, "00"), tmp_path / "pack.zip", retry=RetryPolicy(())
                )
            assert str(caught.value).isprintable()
            assert len(str(caught.value)) < 500


def test_a_link_in_place_of_a_part_or_lock_file_is_not_followed(
    server: FileServer, tmp_path: Path
) -> None:
    other, path = tmp_path / "other", tmp_path / "pack.zip"
    other.write_bytes(b"mine")
    link = tmp_path / ".pack.zip.part"
    link.symlink_to(other)
    assert download(known(server), path)
    assert not path.is_symlink()
    path.unlink()
    link = tmp_path / ".pack.zip.lock"
    link.symlink_to(other)
    with pytest.raises(OSError, match="symbolic links"):
        download(known(server), path)
    assert other.read_bytes() == b"mine"
