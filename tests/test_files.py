import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from utils.errors import ConfigError
from utils.files import atomic_write, read_json, write_json


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_is_replaced_and_its_missing_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    for content in (b"one", b"two and more"):
        with atomic_write(path) as file:
            file.write(content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_a_disk_that_fills_up_while_writing_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def open_full(path: Path, mode: str) -> Any:
        real_open(path, mode).close()
        return real_open(Path("/dev/full"), "wb")

    monkeypatch.setattr(Path, "open", open_full)
    with pytest.raises(OSError, match="No space left"), atomic_write(tmp_path / "new") as file:
        file.write(b"x" * 100_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_within_the_block_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half of the new")
            file.flush()
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_there_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"


def test_the_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    with atomic_write(tmp_path / "ours"):
        pass
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("name", ["x" * 255, "年" * 85, ".hidden", "with space and \n"])
def test_any_name_that_the_file_system_takes_is_taken(tmp_path: Path, name: str) -> None:
    with atomic_write(tmp_path / name) as file:
        file.write(b"content")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_in_the_way_is_an_error_and_survives(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), atomic_write(tmp_path / "folder") as file:
        file.write(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    content = {"name": "Zoë", "list": [1, 2.5, None, True], "nested": {"empty": {}}}
    write_json(content, tmp_path / "file.json")
    assert read_json(tmp_path / "file.json") == content
    assert "Zoë" in (tmp_path / "file.json").read_text(encoding="utf-8")


def test_what_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    write_json({"old": 1}, tmp_path / "file.json")
    with pytest.raises(TypeError):
        write_json({"new": object()}, tmp_path / "file.json")
    assert read_json(tmp_path / "file.json") == {"old": 1}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON: Expecting value at line 1, column 1"),
        (b'{\n  "a": 1,\n  "b" 2\n}', "is not JSON: .* at line 3, column 7"),
        (b"{'a': 1}", "line 1, column 2"),
        (b"\xff\xfe\x00", "is not a text file"),
        (b"\x00\x01PK", "is not JSON"),
    ],
)
def test_what_is_not_json_is_one_config_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_json(tmp_path / "bad.json")
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_config_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.json: no such file"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(ConfigError, match="is a folder"):
        read_json(tmp_path)
