import errno
import os
import pickle
import pickletools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from face_helpers import face, stored
from helpers import ROOT

from extraction.answer_files import answer_path, only_extraction, take_inventory, write_answer
from extraction.embeddings import EmbeddingStore
from extraction.face_pickle import pickle_faces
from utils.errors import DataError
from utils.legacy.pickles import load_pickle
from utils.locks import this_boot


def test_an_answer_comes_back_from_a_plain_unpickler() -> None:
    first, second = pickle.loads(pickle_faces([face(1, 0.5), face(2)]))
    assert list(first) == ["bbox", "det_score", "landmark", "normed_embedding"]
    assert type(first["det_score"]) is np.float64
    assert first["det_score"] == 0.5
    assert np.array_equal(first["bbox"], face(1).bbox)
    assert np.array_equal(second["landmark"], face(2).landmark)
    assert second["normed_embedding"].dtype == np.float32
    assert np.array_equal(second["normed_embedding"], face(2).embedding)
    assert second["normed_embedding"].flags.writeable


def test_an_answer_names_only_what_every_numpy_has() -> None:
    names = {
        argument
        for operation, argument, _ in pickletools.genops(pickle_faces([face(1)]))
        if operation.name == "GLOBAL"
    }
    assert names == {
        "numpy.core.multiarray _reconstruct",
        "numpy.core.multiarray scalar",
        "numpy ndarray",
        "numpy dtype",
    }


def test_an_answer_is_read_by_the_allow_list_unpickler() -> None:
    (loaded,) = load_pickle(pickle_faces([face(3)]))
    assert np.array_equal(loaded["normed_embedding"], face(3).embedding)
    assert load_pickle(pickle_faces(None)) is None
    assert load_pickle(pickle_faces([])) == []


@pytest.mark.parametrize("resize", [None, 640])
def test_an_answer_is_found_by_the_cleaning(tmp_path: Path, resize: int | None) -> None:
    write_answer(answer_path(tmp_path / "a.jpg", resize), [face(1)])
    (found,) = EmbeddingStore(tmp_path, resize or 0).read("a.jpg") or []
    assert np.array_equal(found.embedding, face(1).embedding)


def test_an_answer_is_a_file_like_any_other_of_the_user(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        write_answer(tmp_path / "a.jpg.pkl", None)
    finally:
        os.umask(mask)
    assert (tmp_path / "a.jpg.pkl").stat().st_mode & 0o777 == 0o640
    assert stored(tmp_path / "a.jpg.pkl") is None


def test_a_full_disk_leaves_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_answer(tmp_path / "a.jpg.pkl", [face(1)])
    assert list(tmp_path.iterdir()) == []


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
    assert take_inventory(tmp_path, ["0/a.jpg"], None).done == ["0/a.jpg"]


def test_a_folder_or_an_empty_file_named_like_an_answer_is_none(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", "0/a.jpg.pkl", "0/b.jpg", "0/b.jpg.pkl/file", "0/c.jpg")
    (tmp_path / "0" / "c.jpg.pkl").symlink_to("nowhere")
    paths = ["0/a.jpg", "0/b.jpg", "0/c.jpg"]
    assert take_inventory(tmp_path, paths, None).missing == paths


def test_folders_that_cannot_be_read_do_not_stop_the_others(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg")
    (tmp_path / "loop").symlink_to("loop")
    bad = [f"{'x' * 300}/a.jpg", "loop/a.jpg", "nul\0/a.jpg", "\ud800/a.jpg"]
    inventory = take_inventory(tmp_path, [*bad, "0/a.jpg"], None)
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
        take_inventory(tmp_path, ["0/a.jpg"], None)


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from face_helpers import face
from extraction.answer_files import write_answer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_answer(Path(sys.argv[1]), [face(1)])
except OSError as error:
    print(error.strerror)
"""


def test_an_answer_that_the_disk_takes_half_of_is_no_answer(tmp_path: Path) -> None:
    """A write that reaches a limit writes a part, and only the next one fails."""
    done = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", LIMITED, str(tmp_path / "a.jpg.pkl")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_images_are_done_missing_or_absent(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", "0/b.jpg", "1/c.jpg", "d.jpg")
    fill(tmp_path, "0/a.jpg.RESIZED.pkl", "0/b.jpg.pkl")
    paths = ["0/a.jpg", "0/b.jpg", "0/gone.jpg", "1/c.jpg", "2/none.jpg", "d.jpg", "0/a.jpg"]
    resized = take_inventory(tmp_path, paths, 640)
    assert resized.done == ["0/a.jpg"]
    assert resized.missing == ["0/b.jpg", "1/c.jpg", "d.jpg"]
    assert resized.absent == ["0/gone.jpg", "2/none.jpg"]
    assert take_inventory(tmp_path, paths, None).done == ["0/b.jpg"]


@pytest.mark.parametrize("path", ["../secret.jpg", "0/../../secret.jpg", "", "0", "{}/secret.jpg"])
def test_a_path_that_leaves_the_data_set_or_names_no_image_is_absent(
    tmp_path: Path, path: str
) -> None:
    touch(tmp_path, "secret.jpg", "set/0/a.jpg")
    named = path.format(tmp_path)
    assert take_inventory(tmp_path / "set", [named], None).missing in ([], ["0"])
    assert take_inventory(tmp_path / "set", [named], None).done == []


def test_what_a_kill_left_half_written_is_removed(tmp_path: Path) -> None:
    touch(tmp_path, "0/a.jpg", f"0/.a.jpg.pkl.{this_boot()}{'0f' * 12}.tmp")
    assert take_inventory(tmp_path, ["0/a.jpg"], None).missing == ["0/a.jpg"]
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
