"""The checksum that stands beside a data file."""

import json
import random
import zlib
from pathlib import Path

import pytest

from data_loader.checksum import crc32_of
from data_loader.faces import read_faces
from sample.make import make_sample_data
from utils.errors import DataError

FUZZ_SEED, NUM_FLIPS = 3, 40


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return make_sample_data(tmp_path, num_adience=20, num_imdb=1, num_wiki=1)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_it_is_written_beside_the_data_file_as_any_program_computes_it(sample: Path) -> None:
    path = sample / "Adience" / "data-aligned.npy"
    meta_data = json.loads((path.parent / "meta-data-aligned.json").read_text())
    assert meta_data["crc32"] == f"{zlib.crc32(path.read_bytes()):08x}" == crc32_of(path)


def test_no_flipped_bit_of_a_data_file_is_trained_on(sample: Path) -> None:
    path = sample / "Adience" / "data-aligned.npy"
    num_bits = path.stat().st_size * 8
    rng = random.Random(FUZZ_SEED)  # noqa: S311 - a test
    print(f"seed {FUZZ_SEED}")
    read_faces(sample, "Adience")
    for _ in range(NUM_FLIPS):
        bit = rng.randrange(num_bits)
        flip(path, bit)
        with pytest.raises(
            DataError, match=r"data-aligned\.npy is not what was written: its CRC-32"
        ):
            read_faces(sample, "Adience")
        flip(path, bit)
    assert len(read_faces(sample, "Adience")) > 0


def test_a_file_without_a_checksum_is_read_as_before(sample: Path) -> None:
    path = sample / "Adience" / "data-aligned.npy"
    meta_data = path.parent / "meta-data-aligned.json"
    content = json.loads(meta_data.read_text())
    del content["crc32"]
    flip(path, path.stat().st_size * 8 - 30)  # of an embedding's last number
    for text in (json.dumps(content), "[]"):
        meta_data.write_text(text)
        assert len(read_faces(sample, "Adience")) > 0
    meta_data.unlink()
    assert len(read_faces(sample, "Adience")) > 0


def test_a_file_is_looked_through_once_a_process(
    sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def spy(path: Path) -> str:
        looked.append(path)
        return crc32_of(path)

    monkeypatch.setattr("data_loader.checksum.crc32_of", spy)
    read_faces(sample, "Adience")
    read_faces(sample, "adience")
    assert looked == [sample / "Adience" / "data-aligned.npy"]
