import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io.matlab
import scipy.sparse
from scipy.io import loadmat, savemat
from stored import cells

from extraction import mat_guard
from extraction.imdb_wiki import read_labels
from extraction.mat_guard import check_mat
from utils.errors import DataError

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
NUMBER_CLASS, CELL_CLASS, STRUCT_CLASS, TEXT_CLASS = 6, 1, 2, 4
MUTANTS = Path(__file__).with_name("mat_mutants.py")


FUZZ_SEED, NUM_MUTANTS = 5, 1500


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def start_of(class_: int, *dims: int) -> bytes:
    size = struct.pack(f"<{len(dims)}i", *dims)
    return element(6, struct.pack("<II", class_, 0)) + element(5, size) + element(1, b"")


def nested(depth: int, *, tells_size: bool) -> bytes:
    """Nest a number in cells; a cell that does not tell its size ends before its child."""
    inner = element(14, start_of(NUMBER_CLASS, 1, 1) + element(9, struct.pack("<d", 1.0)))
    for level in range(depth):
        start = start_of(CELL_CLASS, 1, 1)
        is_outermost = level == depth - 1
        size = len(start) + (len(inner) if tells_size or is_outermost else 0)
        inner = struct.pack("<II", 14, size) + start + inner
    return HEADER + inner


@pytest.mark.parametrize("tells_size", [True, False])
def test_deep_nesting_is_refused(tmp_path: Path, tells_size: bool) -> None:
    path = tmp_path / "wiki.mat"
    path.write_bytes(nested(mat_guard.MAX_DEPTH - 1, tells_size=tells_size))
    check_mat(path)
    path.write_bytes(nested(mat_guard.MAX_DEPTH, tells_size=tells_size))
    with pytest.raises(DataError, match=r"wiki\.mat is damaged .* nests deeper than 8 levels"):
        read_labels(tmp_path, "wiki")


def test_a_small_file_that_inflates_to_a_large_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wiki.mat"
    savemat(path, {"wiki": {"dob": np.zeros(1 << 18)}}, do_compression=True)
    assert path.stat().st_size < 4096
    check_mat(path)
    monkeypatch.setattr(mat_guard, "MAX_BYTES", 1 << 20)
    with pytest.raises(DataError, match=r"wiki\.mat is damaged .* inflates to more than 1 MiB"):
        read_labels(tmp_path, "wiki")


@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, is_compressed: bool) -> None:
    path = tmp_path / "wiki.mat"
    content = {"wiki": {"a": cells("x", "", "yz"), "b": np.arange(5.0), "c": np.ones(3) * 1j}}
    savemat(path, content, do_compression=is_compressed)
    whole = path.read_bytes()
    check_mat(path)
    for length in range(129, len(whole) - 16):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut off|something else"):
            check_mat(path)


def test_the_files_that_scipy_is_tested_with_pass() -> None:
    folder = Path(scipy.io.matlab.__file__).parent / "tests/data"
    num_checked = 0
    for path in sorted(folder.glob("test*_[67]*.mat")):
        if path.name.startswith(("testfunc", "testobject", "testsparse")):
            continue  # their classes are not read
        try:
            with warnings.catch_warnings(action="ignore"):
                loadmat(path)
        except Exception:  # noqa: BLE001, S112 - meant to be broken
            continue
        check_mat(path)
        num_checked += 1
    if num_checked == 0:
        pytest.skip("scipy was installed without its tests")


def variable(class_: int, dims: tuple[int, ...], *elements: tuple[int, bytes]) -> bytes:
    inner = b"".join(element(kind, data) for kind, data in elements)
    return HEADER + element(14, start_of(class_, *dims) + inner)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize(
    ("class_", "types"),
    [(NUMBER_CLASS, {*range(1, 8), 9, 12, 13}), (TEXT_CLASS, {1, 2, 4, 16, 17, 18})],
)
def test_only_types_of_data_that_fit_the_class_are_passed_on(
    class_: int, types: set[int], is_compressed: bool, tmp_path: Path
) -> None:
    for kind in (*range(40), 0x80, 0xFFFF):
        whole = variable(class_, (1, 4), (kind, bytes(8)))
        if is_compressed:
            inner = zlib.compress(whole[len(HEADER) :])
            whole = HEADER + struct.pack("<II", 15, len(inner)) + inner
        (tmp_path / "wiki.mat").write_bytes(whole)
        if kind in types:
            check_mat(tmp_path / "wiki.mat")
            continue
        with pytest.raises(DataError, match=f"data of the type {kind} where that cannot be"):
            read_labels(tmp_path, "wiki")


@pytest.mark.parametrize(
    "content",
    [
        variable(TEXT_CLASS, (1, 1 << 30), (16, b"")),
        variable(STRUCT_CLASS, (1 << 10, 1 << 20), (5, struct.pack("<i", 8)), (1, b"")),
    ],
    ids=["letters", "structs without fields"],
)
def test_sizes_without_bytes_behind_them_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "wiki.mat").write_bytes(content)
    with pytest.raises(DataError, match="inflates to more than 512 MiB"):
        read_labels(tmp_path, "wiki")


def test_classes_of_matrices_that_no_label_needs_are_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "wiki.mat", {"wiki": scipy.sparse.eye_array(3)})
    with pytest.raises(DataError, match="class 5, which is not read"):
        read_labels(tmp_path, "wiki")


@pytest.mark.parametrize("form", ["plain", "compressed", "compressed after the change"])
def test_no_changed_bytes_end_the_process_that_reads_the_labels(form: str, tmp_path: Path) -> None:
    fields = {
        "dob": np.full(4, 720_000.0),
        "photo_taken": np.full(4, 2005, np.uint16),
        "full_path": cells("00/a.jpg", "00/b.jpg", "01/\xe9.jpg", "02/d.jpg"),
        "gender": np.array([0, 1, np.nan, 1]),
        "name": cells("A", "", "Bo", "Carlo Carlo"),
        "face_score": np.ones(4) * 1j,
    }
    savemat(tmp_path / "wiki.mat", {"wiki": fields}, do_compression=form == "compressed")
    command = [sys.executable, MUTANTS, form, str(FUZZ_SEED), str(NUM_MUTANTS)]
    outcome = subprocess.run(  # noqa: S603 - our own script
        [*map(str, command), str(tmp_path)], capture_output=True, text=True, check=False
    )
    print(f"seed {FUZZ_SEED}: {outcome.stdout}")
    assert outcome.returncode == 0, outcome.stdout[-500:] + outcome.stderr[-2000:]
    read, refused = map(int, outcome.stdout.splitlines()[-1].split())
    assert read + refused == NUM_MUTANTS
    assert refused > NUM_MUTANTS / 5
