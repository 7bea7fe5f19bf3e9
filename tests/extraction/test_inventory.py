import errno
import os
from pathlib import Path

import pytest

from extraction.inventory import only_extraction, take_inventory
from extraction.places import Places
from extraction.stored_answers import pickle_faces
from utils.errors import DataError
from utils.locks import this_boot


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(pickle_faces([]))


def test_an_answer_outlives_its_image(tmp_path: Path) -> None:
    fill(tmp_path, "0/a.jpg.pkl")
    assert take_inventory(Places(tmp_path), ["0/a.jpg"], None).done == ["0/a.jpg"]


def test_a_folder_or_an_empty_file_named_like_an_answer_is_none(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", "0/a.jpg.pkl", "0/b.jpg", "0/b.jpg.pkl/file", "0/c.jpg")
    (tmp_path / "0" / "c.jpg.pkl").symlink_to("nowhere")
    paths = ["0/a.jpg", "0/b.jpg", "0/c.jpg"]
    assert take_inventory(Places(tmp_path), paths, None).missing == paths


def test_folders_that_cannot_be_read_do_not_stop_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg")
    (tmp_path / "loop").symlink_to("loop")
    bad = [f"{'x' * 300}/a.jpg", "loop/a.jpg", "nul\0/a.jpg", "\ud800/a.jpg"]
    inventory = take_inventory(Places(tmp_path), [*bad, "0/a.jpg"], None)
    assert inventory.missing == ["0/a.jpg"]
    assert [path for path, _ in inventory.unreadable] == bad
    assert inventory.unreadable[0][1] == "File name too long"


def test_a_disk_that_cannot_be_read_ends_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(OSError, match="Input/output"):
        take_inventory(Places(tmp_path), ["0/a.jpg"], None)


def test_images_are_done_missing_or_absent(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", "0/b.jpg", "1/c.jpg", "d.jpg")
    fill(tmp_path, "0/a.jpg.RESIZED.pkl", "0/b.jpg.pkl")
    paths = ["0/a.jpg", "0/b.jpg", "0/gone.jpg", "1/c.jpg", "2/none.jpg", "d.jpg", "0/a.jpg"]
    resized = take_inventory(Places(tmp_path), paths, 640)
    assert resized.done == ["0/a.jpg"]
    assert resized.missing == ["0/b.jpg", "1/c.jpg", "d.jpg"]
    assert resized.absent == ["0/gone.jpg", "2/none.jpg"]
    assert take_inventory(Places(tmp_path), paths, None).done == ["0/b.jpg"]


@pytest.mark.parametrize("path", ["../secret.jpg", "0/../../secret.jpg", "", "0", "{}/secret.jpg"])
def test_a_path_that_leaves_the_data_set_or_names_no_image_is_absent(
    tmp_path: Path, path: str
) -> None:
    touch(tmp_path, "secret.jpg", "set/0/a.jpg")
    named = path.format(tmp_path)
    assert take_inventory(Places(tmp_path / "set"), [named], None).missing in ([], ["0"])
    assert take_inventory(Places(tmp_path / "set"), [named], None).done == []


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", f"0/.a.jpg.pkl.{this_boot()}{'0f' * 12}.tmp")
    assert take_inventory(Places(tmp_path), ["0/a.jpg"], None).missing == ["0/a.jpg"]
    assert [path.name for path in (tmp_path / "0").iterdir()] == ["a.jpg"]


def test_only_one_extraction_works_in_a_folder(tmp_path: Path) -> None:
    with (
        only_extraction(tmp_path),
        pytest.raises(DataError, match="another extraction"),
        only_extraction(tmp_path),
    ):
        pass
    with only_extraction(tmp_path):
        pass
