import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.io.matlab
from scipy.io import loadmat, savemat
from stored import cells

from extraction import mat_guard
from extraction.imdb_wiki import read_labels
from extraction.mat_guard import check_mat
from utils.errors import DataError

HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
NUMBER_CLASS, CELL_CLASS = 6, 1


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
        try:
            with warnings.catch_warnings(action="ignore"):
                loadmat(path)
        except Exception:  # noqa: BLE001, S112 - meant to be broken
            continue
        check_mat(path)
        num_checked += 1
    if num_checked == 0:
        pytest.skip("scipy was installed without its tests")
