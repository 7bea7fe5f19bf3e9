import codecs
import errno
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from failing_disks import full_disk, read_only

from utils.errors import ConfigError, PathError
from utils.files import (
    MAX_DEPTH,
    atomic_write,
    read_json,
    read_json_or_none,
    refuse_unwritable,
    refuse_unwritable_file,
    write_json,
)


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


def test_a_file_that_cannot_be_written_is_named_and_not_the_hidden_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.json"
    with pytest.raises(OSError, match="elsewhere") as other, atomic_write(path):
        raise FileNotFoundError(errno.ENOENT, "gone", "elsewhere")
    assert other.value.filename == "elsewhere"
    for place in ("open", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, place, lambda path, *_: full_disk_at(path))
            with pytest.raises(OSError, match="No space left") as caught:
                write_json({}, path)
        assert caught.value.filename == str(path)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left") as unnamed:
        write_json({}, path)
    assert unnamed.value.filename == str(path)


def full_disk_at(path: Path) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
def test_json_with_a_byte_order_mark_is_read(tmp_path: Path, encoding: str) -> None:
    content = {"name": "Zoë", "年": [1]}
    (tmp_path / "a.json").write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
    assert read_json(tmp_path / "a.json") == content


def test_json_of_utf_16_in_the_other_order_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(codecs.BOM_UTF16_BE + '{"a": 1}'.encode("utf-16-be"))
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_path_that_is_not_utf_8_comes_back_from_json(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9 \xff")
    write_json({"path": str(folder), "name": "Zoë"}, folder / "a.json")
    assert read_json(folder / "a.json") == {"path": str(folder), "name": "Zoë"}
    assert json.loads((folder / "a.json").read_text(encoding="utf-8"))["path"] == str(folder)


HOSTILE = {
    "[" * 100_000: f"is nested more than {MAX_DEPTH} deep",
    '{"a":' * 100_000 + "1" + "}" * 100_000: f"is nested more than {MAX_DEPTH} deep",
    "[" * 900 + "]" * 900: f"is nested more than {MAX_DEPTH} deep",
    "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2): f"is nested more than {MAX_DEPTH} deep",
    '{"seed": ' + "9" * 5000 + "}": "holds a whole number of thousands of digits",
    '{"a": {"name": 1, "b": 2, "name": 3}}': "names the key 'name' twice",
}


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_json_that_nobody_has_a_use_for_is_one_line(
    text: str, tmp_path: Path, program_log: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_json(path)
    assert str(caught.value) == f"{path} {HOSTILE[text]}"
    assert read_json_or_none(path) is None
    assert program_log.messages == [f"{path} {HOSTILE[text]}: passed over"]


def test_json_as_deep_as_is_allowed_is_read(tmp_path: Path) -> None:
    deep = "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1)
    (tmp_path / "deep.json").write_text(deep)
    assert json.dumps(read_json(tmp_path / "deep.json")) == deep


def test_a_folder_that_can_be_written_passes_and_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    refuse_unwritable(tmp_path / "there", tmp_path / "to" / "come")
    refuse_unwritable_file(tmp_path / "there" / "a.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert list((tmp_path / "there").iterdir()) == []


def test_a_file_or_a_broken_link_in_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        for folder in (tmp_path / name, tmp_path / name / "a" / "b"):
            with pytest.raises(PathError, match="not a folder") as refusal:
                refuse_unwritable(folder)
            assert str(refusal.value).startswith(f"{folder} cannot be written: ")
    with pytest.raises(PathError, match="is a folder, the name of a file"):
        refuse_unwritable_file(tmp_path)


def test_folders_that_cannot_be_written_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only(*folders[1:]))
    refuse_unwritable(folders[0])
    with pytest.raises(PathError) as refusal:
        refuse_unwritable(*folders, folders[1] / "below" / "it")
    assert str(refusal.value) == (
        f"{folders[1]} cannot be written: Read-only file system (and 1 more); make it "
        "writable, or name another place"
    )


def test_a_full_disk_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        write = staticmethod(full_disk)

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Full())
    with pytest.raises(PathError, match=r"a cannot be written: .*No space left on device"):
        refuse_unwritable(tmp_path / "a")
