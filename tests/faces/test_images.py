from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from faces import pictures
from faces.errors import ImageError
from faces.squares import DATASET_LIMITS, picture_to_send, square_jpeg

RED, GREEN = (220, 30, 20), (20, 200, 40)
MAX_SIDE = DATASET_LIMITS.side or 0
TOLERANCE = 12  # levels that JPEG may move a plain area


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Draw a picture that is red on the left and green on the right."""
    made = Image.new("RGB", size, RED)
    made.paste(GREEN, (size[0] // 2, 0, *size))
    return made if mode == "RGB" else made.convert(mode)


def encoded(made: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    made.save(stream, kind, **options)
    return stream.getvalue()


def sent(content: bytes, side: int = 96) -> NDArray[np.uint8]:
    """Return the pixels of what is sent, (side, side, 3)."""
    jpeg = square_jpeg(content, side)
    with Image.open(BytesIO(jpeg)) as made:
        assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (side, side))
        return np.asarray(made)


def assert_level(pixels: NDArray[np.uint8], level: int | tuple[int, int, int]) -> None:
    assert np.abs(pixels.astype(int) - np.array(level)).max() <= TOLERANCE


def test_the_pixels_are_those_of_the_plain_way_to_do_it() -> None:
    rng = np.random.default_rng(0)
    noisy = Image.fromarray(rng.integers(0, 256, (80, 123, 3), np.uint8))
    canvas = Image.new("RGB", (123, 123), (0, 0, 0))
    canvas.paste(noisy, (0, 21))
    expected = encoded(canvas.resize((64, 64), Image.Resampling.BICUBIC), "JPEG", quality=75)
    assert square_jpeg(encoded(noisy), 64) == expected


def test_grey_is_resized_as_if_it_were_coloured() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (90, 70), np.uint8)
    grey = encoded(Image.fromarray(levels))
    coloured = encoded(Image.fromarray(levels).convert("RGB"))
    assert square_jpeg(grey, 64) == square_jpeg(coloured, 64)


@pytest.mark.parametrize("size", [(96, 32), (32, 96)])
def test_a_picture_is_centred_on_black(size: tuple[int, int]) -> None:
    pixels = sent(encoded(Image.new("RGB", size, RED)))
    if size[0] < size[1]:
        pixels = pixels.transpose(1, 0, 2)
    assert_level(pixels[:30], 0)
    assert_level(pixels[-30:], 0)
    assert_level(pixels[34:62], RED)


def test_a_square_of_the_right_size_is_not_resized() -> None:
    pixels = sent(encoded(picture(size=(96, 96))))
    assert_level(pixels[:, :46], RED)
    assert_level(pixels[:, 50:], GREEN)


COLOURED: list[tuple[str, Callable[[], bytes]]] = [
    ("RGB png", lambda: encoded(picture())),
    ("RGB jpeg", lambda: encoded(picture(), "JPEG", quality=95, subsampling=0)),
    ("palette", lambda: encoded(picture().quantize(16))),
    ("palette gif", lambda: encoded(picture().quantize(16), "GIF")),
    ("CMYK jpeg", lambda: encoded(picture("CMYK"), "JPEG", quality=95)),
    ("CMYK tiff", lambda: encoded(picture("CMYK"), "TIFF")),
    ("YCbCr", lambda: encoded(picture("YCbCr"), "TIFF")),
    ("RGBA", lambda: encoded(picture("RGBA"))),
    ("RGBX", lambda: encoded(picture("RGBX"), "TIFF")),
    ("webp", lambda: encoded(picture(), "WEBP", lossless=True)),
    ("bmp", lambda: encoded(picture(), "BMP")),
]


@pytest.mark.parametrize(("name", "make"), COLOURED, ids=[name for name, _ in COLOURED])
def test_a_coloured_picture_of_any_mode_is_sent(name: str, make: Callable[[], bytes]) -> None:
    pixels = sent(make())
    assert_level(pixels[:14], 0)
    assert_level(pixels[20:76, 4:44], RED)
    assert_level(pixels[20:76, 52:92], GREEN)


LEVELS = np.repeat(np.array([[40, 200]]), 20, axis=1).repeat(40, axis=0)
GREY: list[tuple[str, Callable[[], bytes]]] = [
    ("L", lambda: encoded(Image.fromarray(LEVELS.astype(np.uint8)))),
    ("L jpeg", lambda: encoded(Image.fromarray(LEVELS.astype(np.uint8)), "JPEG", quality=95)),
    ("LA", lambda: encoded(Image.fromarray(LEVELS.astype(np.uint8)).convert("LA"))),
    ("16-bit png", lambda: encoded(Image.fromarray((LEVELS * 257).astype(np.uint16)))),
    ("16-bit tiff", lambda: encoded(Image.fromarray((LEVELS * 257).astype(np.uint16)), "TIFF")),
    ("32-bit", lambda: encoded(Image.fromarray((LEVELS * 257).astype(np.int32)), "TIFF")),
    ("32-bit small", lambda: encoded(Image.fromarray(LEVELS.astype(np.int32)), "TIFF")),
    ("16-bit small", lambda: encoded(Image.fromarray(LEVELS.astype(np.uint16)), "TIFF")),
    ("floats to 1", lambda: encoded(Image.fromarray(np.float32(LEVELS / 255)), "TIFF")),
    ("floats", lambda: encoded(Image.fromarray(LEVELS.astype(np.float32)), "TIFF")),
    ("pgm", lambda: encoded(Image.fromarray(LEVELS.astype(np.uint8)), "PPM")),
]


@pytest.mark.parametrize(("name", "make"), GREY, ids=[name for name, _ in GREY])
def test_a_grey_picture_of_any_depth_is_sent(name: str, make: Callable[[], bytes]) -> None:
    pixels = sent(make(), side=40)
    assert_level(pixels[:, 2:18], 40)
    assert_level(pixels[:, 22:38], 200)


def test_black_and_white_is_sent() -> None:
    bits = Image.fromarray(LEVELS.astype(np.uint8)).point(lambda level: level > 100 and 255, "1")
    pixels = sent(encoded(bits), side=40)
    assert_level(pixels[:, 2:18], 0)
    assert_level(pixels[:, 22:38], 255)


def test_what_is_transparent_becomes_black() -> None:
    layer = picture("RGBA", (60, 60))
    layer.putalpha(Image.new("L", layer.size, 0))
    layer.paste((*RED, 255), (30, 0, 60, 60))
    palette = picture("RGB", (60, 60)).quantize(2)
    red = palette.getpixel((0, 0))
    for content in (encoded(layer), encoded(palette, transparency=red)):
        assert_level(sent(content, 60)[:, :26], 0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_sent_upright(orientation: int) -> None:
    """Store a picture so that its orientation shows it red on top."""
    upright = Image.new("RGB", (60, 60), RED)
    upright.paste(GREEN, (0, 30, 60, 60))
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    for mode in ("RGB", "L", "CMYK"):
        content = encoded(stored.convert(mode), "JPEG", exif=exif, quality=95)
        pixels = sent(content, 60)
        expected = [np.asarray(Image.new("RGB", (1, 1), c).convert(mode).convert("RGB"))[0, 0]
                    for c in (RED, GREEN)]  # fmt: skip
        assert_level(pixels[2:26], tuple(expected[0]))
        assert_level(pixels[34:58], tuple(expected[1]))


def test_nothing_of_the_metadata_is_sent() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    content = encoded(picture(size=(60, 60)), "JPEG", exif=exif, comment=b"a comment")
    assert b"a caption" in content
    jpeg = square_jpeg(content, 60)
    assert b"a caption" not in jpeg
    assert b"a comment" not in jpeg


def test_the_quality_is_75_unless_another_is_asked_for() -> None:
    content = encoded(picture())
    assert square_jpeg(content, 60) == square_jpeg(content, 60, 75)
    assert len(square_jpeg(content, 60, 95)) > len(square_jpeg(content, 60))


def png_of_size(width: int, height: int) -> bytes:
    return encoded(Image.new("1", (width, height)))


JPEG = encoded(picture(size=(200, 200)), "JPEG")
UNREADABLE: list[tuple[str, bytes, str]] = [
    ("truncated jpeg", JPEG[: len(JPEG) // 2], "truncated or damaged image"),
    ("truncated png", encoded(picture())[:-30], "truncated or damaged image"),
    ("header only", JPEG[:20], "not an image"),
    ("text", b"this is no image", "not an image"),
    ("page", b"<!doctype html><html></html>", "not an image"),
    ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ("long and thin", png_of_size(MAX_SIDE + 1, 1), "image too large"),
    ("100 megapixels of square", png_of_size(1, 10_001), "image too large"),
    ("bomb", png_of_size(MAX_SIDE, MAX_SIDE * 2), "image too large"),
]


@pytest.mark.parametrize(
    ("content", "reason"),
    [case[1:] for case in UNREADABLE],
    ids=[name for name, _, _ in UNREADABLE],
)
def test_a_file_that_is_no_whole_picture_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ImageError) as caught:
        square_jpeg(content, 60)
    assert caught.value.reason == reason
    assert str(caught.value).startswith(reason)


def test_every_cut_of_a_picture_is_whole_or_has_a_reason() -> None:
    content = encoded(picture(), "JPEG")
    reasons = set()
    for end in range(0, len(content) - 2, 7):
        with pytest.raises(ImageError) as caught:
            square_jpeg(content[:end], 60)
        reasons.add(caught.value.reason)
    assert reasons == {"not an image", "truncated or damaged image"}


@pytest.mark.parametrize("resize", [None, 0])
def test_without_a_size_the_file_is_sent_as_it_is(tmp_path: Path, resize: int | None) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"anything at all")
    assert picture_to_send(path, resize) == b"anything at all"


def test_a_file_is_read_and_resized(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture()))
    assert picture_to_send(path, 32, 90) == square_jpeg(path.read_bytes(), 32, 90)


def test_files_that_are_missing_empty_or_huge_have_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 10)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "huge.jpg").write_bytes(b"x" * 11)
    (tmp_path / "folder.jpg").mkdir()
    reasons = {}
    for name in ("missing", "empty", "huge", "folder"):
        with pytest.raises(ImageError) as caught:
            picture_to_send(tmp_path / f"{name}.jpg", None)
        reasons[name] = caught.value.reason
    assert reasons == {
        "missing": "no such file",
        "empty": "empty file",
        "huge": "file too large",
        "folder": "no such file",
    }
