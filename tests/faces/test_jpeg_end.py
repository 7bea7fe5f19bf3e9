import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from picture_files import coarse, encoded, in_jpeg, pixels_of
from PIL import Image

from face_networks.decoding import read_square
from faces import jpeg
from faces.errors import DAMAGED, ImageError
from faces.jpeg import END
from faces.photo import picture_of, prepare
from faces.squares import square_jpeg

NOISE = Image.fromarray(np.random.default_rng(1).integers(0, 256, (41, 50, 3), np.uint8))
PICTURES = {"soft": coarse((50, 41)), "noise": NOISE, "grey": NOISE.convert("L")}
WRITTEN: dict[str, dict[str, Any]] = {
    "baseline": {},
    "fine": {"quality": 95, "subsampling": 0},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 1},
    "progressive restarts": {"progressive": True, "restart_marker_rows": 1},
}
KINDS = [(picture, options) for picture in PICTURES for options in WRITTEN]
kinds = pytest.mark.parametrize(("picture", "options"), KINDS)


def written(picture: str, options: str) -> bytes:
    content = encoded(PICTURES[picture], "JPEG", **WRITTEN[options])
    assert content.endswith(END)
    return content


def first_scan(content: bytes) -> int:
    place = content.index(b"\xff\xda")
    return place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")


@kinds
@pytest.mark.parametrize("ending", [b"", b"\xff", b"\xff\xff"])
def test_a_jpeg_that_lacks_only_its_end_is_read(picture: str, options: str, ending: bytes) -> None:
    whole = written(picture, options)
    assert pixels_of(whole[:-2] + ending) == pixels_of(whole)


READERS: list[Callable[[bytes], object]] = [
    lambda content: square_jpeg(content, 64),
    lambda content: prepare(content, 64).jpeg,
    lambda content: picture_of(content).tobytes(),
    lambda content: read_square(content)[0].tobytes(),
]


@pytest.mark.parametrize("read", READERS)
def test_every_program_reads_it(read: Callable[[bytes], object]) -> None:
    whole = written("noise", "baseline")
    assert read(whole[:-2]) == read(whole)
    with pytest.raises(ImageError, match=DAMAGED):
        read(whole[:-20])


@kinds
def test_a_jpeg_is_read_as_the_whole_one_or_refused_wherever_it_is_cut(
    picture: str, options: str
) -> None:
    """Cut it everywhere near its end, where a few bits decide, and here and there before."""
    whole = written(picture, options)
    expected, start = pixels_of(whole), first_scan(whole)
    places = [*range(max(start, len(whole) - 60), len(whole) - 2)]
    places += random.Random(0).choices(range(start, len(whole) - 2), k=40)  # noqa: S311 - no secret
    outcomes = [outcome_of(whole[:place]) for place in places]
    assert set(outcomes) <= {expected, DAMAGED}
    assert outcomes.count(DAMAGED) > 0.8 * len(places)


@pytest.mark.parametrize("seed", range(6))
def test_pixels_that_are_missing_in_one_unit_of_blocks_are_seen(seed: int) -> None:
    """Let only the last of two units miss pixels, of which the decoder gives up the whole."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 17, 3), np.uint8)
    whole = encoded(Image.fromarray(noise), "JPEG")
    expected = pixels_of(whole)
    outcomes = [outcome_of(whole[:place]) for place in range(first_scan(whole), len(whole) - 2)]
    assert set(outcomes) <= {expected, DAMAGED}


def outcome_of(content: bytes) -> bytes | str:
    """Return the pixels, or the reason why there are none."""
    try:
        return pixels_of(content)
    except ImageError as error:
        return error.reason


def test_a_progressive_jpeg_that_ends_between_two_scans_is_cut_off() -> None:
    whole = written("noise", "progressive")
    scans = [place for place in range(len(whole)) if whole[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 3
    for place in scans[1:]:
        end = whole.rindex(b"\xff\xc4", 0, place)  # the table before the scan
        for cut in (place, end):
            with pytest.raises(ImageError, match=DAMAGED):
                pixels_of(whole[:cut])


def test_restarts_that_are_missing_are_seen_whichever_comes_next() -> None:
    """Cut where a restart marker is due: what is added there is skipped up to the next marker."""
    whole = encoded(Image.new("L", (80, 8), 200), "JPEG", restart_marker_blocks=1)
    places = [place for place in range(len(whole) - 1) if 0xD0 <= whole[place + 1] <= 0xD7
              and whole[place] == 0xFF]  # fmt: skip
    assert len(places) == 9
    for place in places:
        for cut in (place, place + 2):
            with pytest.raises(ImageError, match=DAMAGED):
                pixels_of(whole[:cut])


@kinds
def test_what_follows_the_end_and_what_metadata_holds_is_no_end(picture: str, options: str) -> None:
    whole = written(picture, options)
    assert pixels_of(whole + b"video" * 100) == pixels_of(whole)
    with pytest.raises(ImageError, match=DAMAGED):
        pixels_of(in_jpeg(whole[: len(whole) // 2 + 200], b"a thumbnail" + END))


def test_a_jpeg_with_its_end_is_decoded_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("decoded to find out whether it is whole")

    monkeypatch.setattr(jpeg, "_digest", fail)
    pixels_of(written("soft", "baseline"))
    with pytest.raises(ImageError, match="find out whether it is whole"):
        pixels_of(written("soft", "baseline")[:-2])


def with_scans(number: int, before: bytes = b"") -> bytes:
    """Make a progressive JPEG whose last scan is given over and over, each behind other bytes."""
    whole = written("soft", "progressive")
    scan = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + number * (before + scan) + END


DISGUISES = {"none": b"", "no length": b"\xff\xfe\0\0", "an end": b"\xff\xfe\0\4" + END}


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("read", READERS)
def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(
    read: Callable[[bytes], object], disguise: str
) -> None:
    assert read(with_scans(80, DISGUISES[disguise]))
    with pytest.raises(ImageError, match=f"{DAMAGED}: 4,0.. scans, expected at most 100"):
        read(with_scans(4000, DISGUISES[disguise]))
