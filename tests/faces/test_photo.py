import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw
from served import noise

from faces import photo
from faces.errors import ImageError
from faces.photo import SentPhoto, picture_of, prepare
from faces.pictures import Limits
from faces.squares import square_jpeg

BLUE, WHITE = (20, 40, 230), (250, 250, 250)
SIDE = 320
ORIENTATION = 0x0112


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def lying(upright: Image.Image, orientation: int, kind: str = "JPEG") -> bytes:
    """Store a picture as a camera does that was held in this orientation."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes it
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(back[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encoded(stored, kind, exif=exif, quality=95)


def with_square(size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    picture = Image.new("RGB", size, WHITE)
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=BLUE)
    return picture


def blue_box(jpeg: bytes) -> tuple[int, int, int, int]:
    """Find the box of what is blue, in pixels of what is sent."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        pixels = np.asarray(picture.convert("RGB"), int)
    is_blue = (pixels[..., 2] - pixels[..., 0]) > 105
    rows, columns = np.flatnonzero(is_blue.any(1)), np.flatnonzero(is_blue.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def png_of_size(width: int, height: int) -> bytes:
    """Make a PNG of some bytes that says it is this large."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(500, 300), (300, 500), (640, 640), (90, 31), (4096, 20)])
def test_an_ordinary_photo_is_sent_exactly_as_extraction_sends_it(size: tuple[int, int]) -> None:
    content = encoded(noise(size), "JPEG")
    prepared = prepare(content, SIDE)
    assert prepared.jpeg == square_jpeg(content, SIDE)
    assert (prepared.width, prepared.height) == size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("factor", [1, 11])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_mapped_to_the_upright_photo(orientation: int, factor: int, kind: str) -> None:
    box = (60 * factor, 10 * factor, 150 * factor, 70 * factor)
    content = lying(with_square((400 * factor, 80 * factor), box), orientation, kind)
    prepared = prepare(content, SIDE)
    assert (prepared.width, prepared.height) == (400 * factor, 80 * factor)
    assert prepared.to_photo(blue_box(prepared.jpeg)) == pytest.approx(box, abs=2.5 * factor)


def test_a_big_photo_of_16_bits_is_turned() -> None:
    grey = with_square((4400, 200), (0, 0, 1000, 200)).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    with Image.open(io.BytesIO(prepare(lying(deep, 6, "PNG"), SIDE).jpeg)) as sent:
        levels = np.asarray(sent.convert("L"), int)[SIDE // 2]
    assert levels[20] < 100 < levels[200]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_that_its_exif_turns_is_sent_upright(orientation: int, kind: str) -> None:
    box = (60, 40, 150, 200)
    prepared = prepare(lying(with_square((400, 300), box), orientation, kind), 0)
    assert (prepared.width, prepared.height) == (400, 300)
    assert prepared.to_photo(blue_box(prepared.jpeg)) == pytest.approx(box, abs=2.5)


BIG: list[tuple[str, Callable[[Image.Image], bytes]]] = [
    ("JPEG", lambda made: encoded(made, "JPEG")),
    ("progressive JPEG", lambda made: encoded(made, "JPEG", progressive=True)),
    ("PNG", encoded),
    ("palette", lambda made: encoded(made.quantize(8))),
    ("RGBA", lambda made: encoded(made.convert("RGBA"))),
    ("CMYK", lambda made: encoded(made.convert("CMYK"), "JPEG")),
]


@pytest.mark.parametrize("size", [(4099, 1111), (1111, 4099)])
@pytest.mark.parametrize(("name", "encode"), BIG, ids=[name for name, _ in BIG])
def test_boxes_of_a_big_photo_are_mapped_back(
    name: str, encode: Callable[[Image.Image], bytes], size: tuple[int, int]
) -> None:
    box = (333, 222, 900, 1001)
    prepared = prepare(encode(with_square(size, box)), SIDE)
    assert (prepared.width, prepared.height) == size
    sent_pixel = max(size) / SIDE
    assert prepared.to_photo(blue_box(prepared.jpeg)) == pytest.approx(box, abs=1.2 * sent_pixel)


def test_a_big_photo_looks_like_what_extraction_sends_of_it() -> None:
    rng = np.random.default_rng(1)
    coarse = Image.fromarray(rng.integers(0, 256, (200, 300, 3), np.uint8))
    content = encoded(coarse.resize((6000, 4000), Image.Resampling.BICUBIC), "JPEG", quality=90)
    pictures = [
        np.asarray(Image.open(io.BytesIO(jpeg)), float)
        for jpeg in (prepare(content, 640).jpeg, square_jpeg(content, 640))
    ]
    assert np.abs(pictures[0] - pictures[1]).mean() < 2.5


def test_without_a_side_the_file_is_sent_as_it_is() -> None:
    content = encoded(with_square((50, 40), (5, 6, 20, 30)))
    prepared = prepare(content, 0)
    assert prepared.jpeg == content
    assert prepared.to_photo([5, 6, 20, 30]) == (5, 6, 20, 30)


def test_boxes_are_cut_to_the_photo() -> None:
    prepared = SentPhoto(b"", 100, 60)
    assert prepared.to_photo([-5, -9, 120, 70]) == (0, 0, 100, 60)


BAD: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "not an image"),
    ("text", b"hello", "not an image"),
    ("cut off", encoded(noise((200, 200)), "JPEG")[:5000], "truncated or damaged image"),
    ("cut off png", encoded(noise((200, 200)))[:5000], "truncated or damaged image"),
    ("empty png", png_of_size(500, 500), "truncated or damaged image"),
    ("too many pixels", png_of_size(10_000, 10_000), "image too large"),
    ("far too many pixels", png_of_size(60_000, 60_000), "image too large"),
]


@pytest.mark.parametrize(("name", "content", "reason"), BAD, ids=[name for name, *_ in BAD])
@pytest.mark.parametrize("read", [lambda content: prepare(content, SIDE), picture_of])
def test_a_bad_file_is_refused_with_its_reason(
    name: str, content: bytes, reason: str, read: Callable[[bytes], object]
) -> None:
    with pytest.raises(ImageError) as caught:
        read(content)
    assert caught.value.reason == reason


def test_the_pixel_limits_are_those_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photo, "LIMITS", Limits(jpeg_pixels=200, pixels=100))
    assert prepare(encoded(noise((20, 10)), "JPEG"), SIDE).width == 20
    assert prepare(encoded(noise((10, 10))), SIDE).width == 10
    for content in (encoded(noise((21, 10)), "JPEG"), encoded(noise((20, 10)))):
        with pytest.raises(ImageError, match=r"image too large: 2. x 10 pixels, expected"):
            prepare(content, SIDE)


def test_a_line_of_pixels_makes_no_huge_square() -> None:
    prepared = prepare(encoded(Image.new("RGB", (60_000, 1), BLUE)), SIDE)
    assert len(prepared.jpeg) < 100_000
    assert (prepared.width, prepared.height) == (60_000, 1)


def test_the_whole_photo_is_upright_and_coloured() -> None:
    picture = picture_of(lying(with_square((40, 30), (0, 0, 10, 10)).convert("L"), 6))
    assert (picture.mode, picture.size) == ("RGB", (40, 30))
    assert np.asarray(picture)[5, 5].max() < np.asarray(picture)[25, 35].min()
