import warnings
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from helpers import ROOT
from picture_files import SIZE, chunk, coarse, encoded, in_png, pixels_of
from PIL import Image, ImageCms

from face_networks.decoding import read_square
from faces.errors import DAMAGED, NO_IMAGE, TOO_LARGE, ImageError, one_picture, silence_decoders
from faces.photo import picture_of, prepare
from faces.pictures import FORMATS, SUFFIXES, Limits, opened
from faces.squares import square_jpeg

PLAIN = coarse()
READERS: list[tuple[str, Callable[[bytes], Any]]] = [
    ("extraction", lambda content: square_jpeg(content, 64)),
    ("server and client", lambda content: prepare(content, 64)),
    ("annotation", picture_of),
    ("face server", read_square),
]
readers = pytest.mark.parametrize(
    "read", [read for _, read in READERS], ids=[name for name, _ in READERS]
)


# --- formats --------------------------------------------------------------------------------------

KINDS: dict[str, str] = {"jfif": "JPEG", "j2k": "JPEG2000", "dib": "DIB", "avif": "AVIF"}


@readers
@pytest.mark.parametrize("suffix", KINDS)
def test_formats_that_cameras_and_browsers_write_are_read(
    suffix: str, read: Callable[[bytes], Any]
) -> None:
    if KINDS[suffix] not in FORMATS:
        pytest.skip(f"this Pillow has no decoder for {suffix}")
    assert f".{suffix}" in SUFFIXES
    read(encoded(PLAIN, KINDS[suffix]))


def test_suffixes_are_those_of_the_formats_that_are_read() -> None:
    expected = {".jpg", ".jpeg", ".jpe", ".mpo", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
    assert expected | {".jp2", ".ppm", ".pgm", ".jfif", ".pjpeg", ".dib", ".j2k"} <= SUFFIXES
    assert SUFFIXES.isdisjoint({".eps", ".pdf", ".psd", ".heic", ".h5", ""})


def heic(brand: bytes, *others: bytes) -> bytes:
    brands = brand + bytes(4) + b"".join(others)
    return (len(brands) + 8).to_bytes(4, "big") + b"ftyp" + brands + b"\0\0\0\x08mdat"


NOT_READ = [
    ("HEIC", heic(b"heic", b"mif1", b"heic")),
    ("HEIC", heic(b"mif1", b"heix")),
    ("JPEG XL", b"\xff\x0a" + bytes(50)),
]


@readers
@pytest.mark.parametrize(("kind", "content"), NOT_READ)
def test_a_format_that_is_not_read_is_named_with_the_remedy(
    kind: str, content: bytes, read: Callable[[bytes], Any]
) -> None:
    with pytest.raises(ImageError, match=f"{kind} image: .*; convert it to JPEG"):
        read(content)


def test_avif_without_its_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(name for name in FORMATS if name != "AVIF")
    monkeypatch.setattr("faces.pictures.FORMATS", without)
    with pytest.raises(ImageError, match=r"AVIF image: .*update Pillow to 11\.3"):
        pixels_of(heic(b"avif", b"mif1"))


@pytest.mark.parametrize("suffix", ["avif", "j2k", "jfif"])
def test_the_shared_cases_of_formats_are_read(suffix: str) -> None:
    path = ROOT.parent / "shared" / "cases" / "formats" / f"photo.{suffix}"
    if not path.exists():
        pytest.skip(f"needs {path}")
    if KINDS[suffix] not in FORMATS:
        pytest.skip(f"this Pillow has no decoder for {suffix}")
    assert len(pixels_of(path.read_bytes())) == 64 * 48 * 3


# --- odd pictures ---------------------------------------------------------------------------------


def animated(kind: str, **options: Any) -> bytes:
    others = [PLAIN.transpose(Image.Transpose.ROTATE_180)]
    return encoded(PLAIN, kind, save_all=True, append_images=others, **options)


ANIMATED: list[tuple[str, bytes, float]] = [
    ("GIF", animated("GIF", comment=b"x" * 3000), 60),
    ("WEBP", animated("WEBP", lossless=True), 0),
    ("PNG", animated("PNG"), 0),
    ("PNG with a picture beside", animated("PNG", default_image=True), 0),
    ("MPO", animated("MPO", quality=95), 25),
    ("TIFF", animated("TIFF"), 0),
]


@pytest.mark.parametrize(("name", "content", "tolerance"), ANIMATED, ids=[a[0] for a in ANIMATED])
def test_of_several_pictures_in_a_file_the_first_is_read(
    name: str, content: bytes, tolerance: float
) -> None:
    seen = np.frombuffer(pixels_of(content), np.uint8).astype(int)
    assert np.abs(seen - np.frombuffer(PLAIN.tobytes(), np.uint8)).max() <= tolerance


@readers
@pytest.mark.parametrize("size", [(1, 1), (1, 8000), (8000, 1)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF"])
def test_a_pixel_or_a_line_of_them_is_a_picture(
    kind: str, size: tuple[int, int], read: Callable[[bytes], Any]
) -> None:
    read(encoded(Image.new("L", size, 90), kind))


MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I", "I;16", "F"]


@readers
@pytest.mark.parametrize("mode", [*MODES, "I;16B", "LAB"])
def test_a_tiff_of_any_mode_is_read(mode: str, read: Callable[[bytes], Any]) -> None:
    grey = PLAIN.convert("L")
    made = Image.new(mode, SIZE) if mode in ("LAB", "I;16", "I;16B") else grey.convert(mode)
    read(encoded(made, "TIFF"))


def test_the_colours_of_lab_are_right() -> None:
    profiles = (ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"))
    lab = ImageCms.buildTransform(*profiles, "RGB", "LAB").apply(PLAIN)
    seen = np.frombuffer(pixels_of(encoded(lab, "TIFF")), np.uint8).astype(int)
    assert np.abs(seen - np.frombuffer(PLAIN.tobytes(), np.uint8)).mean() < 3


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_a_png_of_any_depth_shows_the_same_grey(depth: int, colour: int, channels: int) -> None:
    alpha = colour in (4, 6)
    levels = [0x80] * (channels - alpha) + [0xFF] * alpha
    row = b"\0" + b"".join(bytes([level] * (depth // 8)) for level in levels) * 4
    header = (4).to_bytes(4, "big") * 2 + bytes([depth, colour, 0, 0, 0])
    assert set(pixels_of(png_of(header, row * 4))) == {0x80}


def png_of(header: bytes, rows: bytes) -> bytes:
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_depth(bits: int) -> bytes:
    content = bytearray(encoded(PLAIN, "JPEG"))
    content[content.index(b"\xff\xc0") + 4] = bits
    return bytes(content)


UNUSABLE: list[tuple[str, bytes, str]] = [
    ("JPEG of 12 bits", with_depth(12), f"{NO_IMAGE}: .* as JPEG, but cannot handle 12-bit layers"),
    ("PNG without pixels", png_of(bytes(8) + b"\x08\2\0\0\0", b""), f"{NO_IMAGE}: .* no pixels"),
    ("PNG of 7 bits", png_of(b"\0\0\0\4" * 2 + b"\7\2\0\0\0", bytes(52)), f"{NO_IMAGE}: .*PNG"),
    ("TIFF of 4 bytes", b"II*\0", f"{NO_IMAGE}: .* as TIFF"),
    ("TIFF of 8 bytes", b"II*\0\x08\0\0\0", f"({NO_IMAGE}|{DAMAGED})"),
    ("half a TIFF", encoded(PLAIN, "TIFF")[:4000], DAMAGED),
    ("half a GIF", encoded(PLAIN.quantize(8), "GIF")[:200], DAMAGED),
    ("half a WebP", encoded(PLAIN, "WEBP")[:200], DAMAGED),
    ("half a JPEG 2000", encoded(PLAIN, "JPEG2000")[:200], DAMAGED),
    ("half a BMP", encoded(PLAIN, "BMP")[:900], DAMAGED),
    ("half a PPM", encoded(PLAIN, "PPM")[:900], DAMAGED),
    ("PNG of a terapixel", png_of(b"\0\x0f\xff\xff" * 2 + b"\x08\2\0\0\0", b""), TOO_LARGE),
    ("PDF", b"%PDF-1.7\n", NO_IMAGE),
]


@readers
@pytest.mark.parametrize(
    ("content", "message"), [case[1:] for case in UNUSABLE], ids=[case[0] for case in UNUSABLE]
)
def test_what_cannot_be_read_is_one_line(
    content: bytes, message: str, read: Callable[[bytes], Any]
) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


# --- whatever a decoder raises --------------------------------------------------------------------

RAISED: list[tuple[Exception, str]] = [
    (AttributeError("no 'encode'"), r"cannot be decoded \(AttributeError\): no 'encode' at "),
    (RuntimeError("a\nb"), r"cannot be decoded \(RuntimeError\): a b at test_decoder.py:\d+"),
    (ZeroDivisionError(), r"cannot be decoded \(ZeroDivisionError\)"),
    (AssertionError(), r"cannot be decoded \(AssertionError\)"),
    (OSError("broken data stream"), f"{DAMAGED}: broken data stream"),
    (UserWarning("Truncated File Read"), f"{DAMAGED}: Truncated File Read"),
    (MemoryError(), TOO_LARGE),
]


@readers
@pytest.mark.parametrize(("error", "message"), RAISED, ids=[repr(case[0]) for case in RAISED])
def test_whatever_a_decoder_raises_is_the_failure_of_its_picture(
    error: Exception,
    message: str,
    read: Callable[[bytes], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load_prepare", fail)
    with pytest.raises(ImageError, match=message):
        read(encoded(PLAIN))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_an_interruption_is_no_failure_of_a_picture(error: BaseException) -> None:
    with pytest.raises(type(error)), one_picture():
        raise error


def test_an_error_of_the_block_of_an_open_picture_counts_for_the_picture() -> None:
    with pytest.raises(ImageError, match="LookupError"), opened(encoded(PLAIN), Limits()):
        raise LookupError("x")


def test_nothing_is_decoded_before_the_limits_are_held_against_the_header(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
    cut = encoded(PLAIN, "JPEG")[:-2]  # which would be decoded to find out whether it is whole
    limits = [Limits(side=63), Limits(jpeg_pixels=48 * 64 - 1)]
    for limit in limits:
        with pytest.raises(ImageError, match=TOO_LARGE), opened(cut, limit):
            pass
    with opened(encoded(PLAIN), Limits(side=64, jpeg_pixels=1, pixels=48 * 64)) as picture:
        assert picture.size == SIZE


def test_pngs_of_many_chunks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("faces.png.MAX_CHUNKS", 20)
    few = in_png(encoded(PLAIN), *[chunk(b"tEXt", b"a\0b")] * 10)
    assert pixels_of(few) == PLAIN.tobytes()
    with pytest.raises(ImageError, match="more than 20 chunks"):
        pixels_of(in_png(encoded(PLAIN), *[chunk(b"tEXt", b"a\0b")] * 30))


def test_a_picture_is_what_pillow_says_it_is() -> None:
    with Image.open(BytesIO(encoded(PLAIN, "JPEG"))) as expected:
        assert pixels_of(encoded(PLAIN, "JPEG")) == expected.convert("RGB").tobytes()


def test_a_server_logs_nothing_of_what_pillow_warns_of() -> None:
    tiff = bytearray(encoded(PLAIN, "TIFF"))
    tiff[int.from_bytes(tiff[4:8], "little") + 90] = 61  # as many numbers where one belongs
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for is_silent in (False, True):
            if is_silent:
                assert caught
                caught.clear()
                silence_decoders()
            picture_of(bytes(tiff))
    assert not caught
