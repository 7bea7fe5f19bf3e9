import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from file_server import FileServer, file_server

from face_networks import packs
from face_networks.packs import PackError, find_pack, known_packs, model_name, unpack
from http_client.download import MIRROR, DownloadError
from utils.errors import PathError

Members = dict[str, bytes]
MEMBERS = {"det.onnx": b"detector" * 99, "nested/rec.onnx": b"recogniser", "genderage.txt": b"?"}


def archive(members: Members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return stream.getvalue()


def make_folder(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_bytes(b"a network")
    return folder


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder where insightface keeps its packs, of a home folder without any."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv(MIRROR, raising=False)
    return tmp_path / "home" / ".insightface" / "models"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve a pack named small, and know it."""
    content = archive(MEMBERS)
    with file_server({"/small.zip": content}) as running:
        small = {
            "description": "two networks",
            "url": f"{running.url}/small.zip",
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "licence": "made for this test",
        }
        monkeypatch.setattr(packs, "known_packs", lambda: {"small": small})
        yield running


def test_a_folder_is_a_pack(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "own", "det.onnx")
    assert find_pack(str(folder)) == folder
    assert find_pack(f"{folder}/") == folder


def test_a_pack_of_insightface_is_used_by_its_name(kept: Path) -> None:
    folder = make_folder(kept / "buffalo_l", "det_10g.onnx")
    assert find_pack("buffalo_l") == folder
    inner = make_folder(kept / "antelopev2" / "antelopev2", "glintr100.onnx")
    assert find_pack("antelopev2") == inner


def test_a_known_pack_is_downloaded_once(
    kept: Path, server: FileServer, program_log: pytest.LogCaptureFixture
) -> None:
    folder = find_pack("small")
    assert folder == kept / "small"
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == {"det.onnx": MEMBERS["det.onnx"], "rec.onnx": MEMBERS["nested/rec.onnx"]}
    assert find_pack("small") == folder
    assert len(server.asked) == 1
    assert program_log.text.count("its licence: made for this test") == 1
    assert [path.name for path in kept.iterdir()] == ["small"]


def test_several_at_once_download_it_once(kept: Path, server: FileServer) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(find_pack, ["small"] * 4)) == {kept / "small"}
    assert len(server.asked) == 1


def test_an_archive_that_lies_there_already_is_used_and_kept(
    kept: Path, server: FileServer
) -> None:
    kept.mkdir(parents=True)
    (kept / "small.zip").write_bytes(server.files["/small.zip"])
    assert find_pack("small") == kept / "small"
    assert server.asked == []
    assert (kept / "small.zip").exists()


def test_a_mirror_has_the_packs_by_their_names(
    kept: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files = {"/here/small.zip": server.files["/small.zip"]}
    with pytest.raises(DownloadError, match=f"HTTP 404: Not Found; .* in the variable {MIRROR}"):
        find_pack("small")
    monkeypatch.setenv(MIRROR, f"{server.url}/here")
    assert find_pack("small") == kept / "small"


def test_what_a_broken_download_left_is_no_pack(kept: Path, server: FileServer) -> None:
    make_folder(kept / ".small.unpacking", "det.onnx")
    assert sorted(path.name for path in find_pack("small").iterdir()) == ["det.onnx", "rec.onnx"]
    make_folder(kept / "other", "readme.txt")
    with pytest.raises(PackError, match="'other' is no folder"):
        find_pack("other")


def test_a_folder_without_networks_is_not_replaced(kept: Path, server: FileServer) -> None:
    folder = make_folder(kept / "small", "notes.txt")
    with pytest.raises(PackError, match=f"{folder} holds no .onnx files; move it away"):
        find_pack("small")
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert server.asked == []


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        ("buffalo_xl", r"'buffalo_xl' is no folder .* did you mean buffalo_l\?"),
        ("tiny", "known are antelopev2, buffalo_l, buffalo_m, buffalo_s, buffalo_sc"),
        ("packs/none", "packs/none: no such folder; expected a folder of .onnx files"),
        ("/", "/: holds no .onnx files"),
        (".", ".: holds no .onnx files"),
        ("..", "..: holds no .onnx files"),
    ],
)
def test_what_is_no_pack_is_one_line_with_what_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PackError, match=words) as caught:
        find_pack(pack)
    assert "\n" not in str(caught.value)


def test_a_home_that_cannot_be_written_is_told(kept: Path, server: FileServer) -> None:
    kept.parent.parent.mkdir()
    kept.parent.write_text("")
    with pytest.raises(PathError, match="not a folder"):
        find_pack("small")


def test_no_member_gets_out_of_the_folder(tmp_path: Path) -> None:
    hostile = {"../../up.onnx": b"1", "/etc/root.onnx": b"2", "a/.onnx": b"3", "dir.onnx/x": b"4"}
    (tmp_path / "pack.zip").write_bytes(archive(hostile))
    unpack(tmp_path / "pack.zip", tmp_path / "deep" / "pack")
    found = {path.name: path.read_bytes() for path in (tmp_path / "deep" / "pack").iterdir()}
    assert found == {"up.onnx": b"1", "root.onnx": b"2", ".onnx": b"3"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "pack.zip"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"readme.txt": b""}, "holds 0 .onnx files"),
        ({"a/det.onnx": b"1", "b/det.onnx": b"2"}, "2 .onnx files of 2 bytes with 1 different"),
        ({"det.onnx": bytes(2000)}, "1 .onnx files of 2,000 bytes"),
    ],
)
def test_other_archives_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, members: Members, words: str
) -> None:
    monkeypatch.setattr(packs, "MAX_UNPACKED_BYTES", 1000)
    (tmp_path / "pack.zip").write_bytes(archive(members))
    with pytest.raises(PackError, match=words):
        unpack(tmp_path / "pack.zip", tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["pack.zip"]


def test_a_size_that_the_archive_tells_wrongly_is_not_exceeded(tmp_path: Path) -> None:
    content = archive({"det.onnx": bytes(5000)})
    (tmp_path / "pack.zip").write_bytes(
        content.replace((5000).to_bytes(4, "little"), b"\x10\0\0\0")
    )
    with pytest.raises(PackError, match="damaged"):
        unpack(tmp_path / "pack.zip", tmp_path / "pack")


@pytest.mark.parametrize("change", ["cut", "flipped", "text", "encrypted"])
def test_a_damaged_archive_is_told(tmp_path: Path, change: str) -> None:
    content = bytearray(archive({"det.onnx": bytes(range(256)) * 9}))
    if change == "cut":
        del content[-20:]
    elif change == "text":
        content[:] = b"<html>not found</html>"
    elif change == "encrypted":
        content[content.index(b"PK\1\2") + 8] |= 1
        content[6] |= 1
    else:
        content[60] ^= 0xFF
    (tmp_path / "pack.zip").write_bytes(content)
    with pytest.raises(PackError, match=r"pack\.zip is damaged .*; delete it and call again"):
        unpack(tmp_path / "pack.zip", tmp_path / "pack")
    assert [path.name for path in tmp_path.iterdir()] == ["pack.zip"]


def test_a_disk_that_fills_up_leaves_no_pack(
    kept: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    with pytest.raises(PackError, match="cannot be written: No space left on device; make room"):
        find_pack("small")
    assert [path.name for path in kept.iterdir()] == ["small.zip"]


def test_the_registry_is_complete() -> None:
    assert json.loads(packs._REGISTRY.read_text()) == known_packs()
    for name, known in known_packs().items():
        assert set(known) == {"description", "url", "size", "sha256", "licence"}
        assert known["url"].startswith("https://")
        assert known["url"].endswith(f"/{name}.zip")
        assert len(bytes.fromhex(known["sha256"])) == 32
        assert model_name(name) == name


def test_a_name_that_cannot_stand_in_an_answer_is_refused() -> None:
    with pytest.raises(PackError, match="give it a plain name"):
        model_name("packs/a\nb")
