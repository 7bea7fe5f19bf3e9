import os
import pickle
import pickletools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from face_helpers import face, stored
from helpers import ROOT

from extraction.places import Places
from extraction.stored_answers import StoredAnswers, answer_path, pickle_faces, write_answer
from utils.legacy.pickles import load_pickle


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


def test_numbers_whose_bytes_read_like_a_name_come_back() -> None:
    odd = np.frombuffer(b"cnumpy._core.multiarray\n".ljust(32), "<f8")
    (found,) = pickle.loads(pickle_faces([replace(face(1), bbox=odd)]))
    assert found["bbox"].tobytes() == odd.tobytes()


def test_an_answer_is_read_by_the_allow_list_unpickler() -> None:
    (loaded,) = load_pickle(pickle_faces([face(3)]))
    assert np.array_equal(loaded["normed_embedding"], face(3).embedding)
    assert load_pickle(pickle_faces(None)) is None
    assert load_pickle(pickle_faces([])) == []


@pytest.mark.parametrize("resize", [None, 640])
def test_an_answer_is_found_by_the_cleaning(tmp_path: Path, resize: int | None) -> None:
    write_answer(answer_path(tmp_path / "a.jpg", resize), [face(1)])
    (found,) = StoredAnswers(Places(tmp_path), resize or 0).read("a.jpg") or []
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


LIMITED = """
import resource, signal, sys
from pathlib import Path
sys.path.insert(0, "tests")
from face_helpers import face
from extraction.stored_answers import write_answer
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
