import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from helpers import ROOT
from picture_files import (
    chunk,
    coarse,
    encoded,
    entry,
    exif,
    in_jpeg,
    in_png,
    in_webp,
    orientation_in,
    oriented,
    pixels_of,
    segment,
)
from PIL import Image

from faces import png
from faces.errors import ImageError
from faces.jpeg import END
from faces.pictures import FORMATS
from faces.tiff import orientation_of

PLAIN = coarse()
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
HEADER = b"Exif\0\0"
PNG, TIFF = encoded(PLAIN), encoded(PLAIN, "TIFF")
JPEG = encoded(PLAIN, "JPEG", quality=95)
WEBP = encoded(PLAIN, "WEBP", lossless=True, exif=HEADER + oriented(1))
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><y tiff:Orientation="%d"/></x:xmpmeta>'
CASES = ROOT.parent / "shared" / "cases"


def upright(content: bytes, orientation: int) -> bytes:
    """Decode a file without metadata by Pillow alone, and turn it."""
    with Image.open(BytesIO(content)) as picture:
        turn, coloured = TURNS[orientation], picture.convert("RGB")
        return (coloured if turn is None else coloured.transpose(turn)).tobytes()


# --- where an orientation stands ------------------------------------------------------------------


def tiff_with(number: int, *others: bytes) -> bytes:
    """Write a TIFF anew with an orientation, and other tags, in its directory."""
    (place,) = struct.unpack_from("<I", TIFF, 4)
    (count,) = struct.unpack_from("<H", TIFF, place)
    end = place + 2 + 12 * count
    own = [TIFF[start : start + 12] for start in range(place + 2, end, 12)]
    added = [struct.pack("<HHIHH", 0x0112, 3, 1, number, 0), *others]
    directory = struct.pack("<H", count + len(added)) + b"".join(own + added) + bytes(4)
    return TIFF[:4] + struct.pack("<I", len(TIFF)) + TIFF[8:] + directory


def xmp_in_png(number: int, is_packed: bool) -> bytes:
    text = XMP % number
    flags, body = (b"\1\0", zlib.compress(text)) if is_packed else (b"\0\0", text)
    return in_png(PNG, chunk(b"iTXt", b"XML:com.adobe.xmp\0" + flags + b"\0\0" + body))


def from_imagemagick(number: int) -> bytes:
    body = HEADER + oriented(number)
    text = f"\nexif\n{len(body):8}\n{body.hex()}\n".encode()
    return in_png(PNG, chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))


ADOBE = b"http://ns.adobe.com/xap/1.0/\0"
PLACES: list[tuple[str, bytes, Callable[[int], bytes]]] = [
    ("JPEG", JPEG, lambda n: in_jpeg(JPEG, HEADER + oriented(n))),
    ("JPEG, header twice", JPEG, lambda n: in_jpeg(JPEG, HEADER * 2 + oriented(n))),
    ("JPEG, XMP", JPEG, lambda n: in_jpeg(JPEG, ADOBE + XMP % n)),
    ("JPEG, EXIF before XMP", JPEG, lambda n: in_jpeg(JPEG, ADOBE + XMP % 3, HEADER + oriented(n))),
    ("PNG", PNG, lambda n: in_png(PNG, chunk(b"eXIf", oriented(n)))),
    ("PNG, late", PNG, lambda n: in_png(PNG, chunk(b"eXIf", oriented(n)), is_late=True)),
    ("PNG, XMP", PNG, lambda n: xmp_in_png(n, is_packed=False)),
    ("PNG, packed XMP", PNG, lambda n: xmp_in_png(n, is_packed=True)),
    ("PNG of ImageMagick", PNG, from_imagemagick),
    ("WebP", PNG, lambda n: in_webp(WEBP, oriented(n))),
    ("WebP, header", PNG, lambda n: in_webp(WEBP, HEADER + oriented(n))),
    ("TIFF", PNG, tiff_with),
]  # fmt: skip


@pytest.mark.parametrize("number", [*range(1, 9), 0, 9, 65535])
@pytest.mark.parametrize(("name", "plain", "make"), PLACES, ids=[place[0] for place in PLACES])
def test_a_picture_is_turned_as_its_metadata_says(
    name: str, plain: bytes, make: Callable[[int], bytes], number: int
) -> None:
    if number > 9 and "XMP" in name:
        pytest.skip("XMP holds one digit")
    expected = number if number in TURNS else 1
    assert orientation_in(make(number)) == expected
    assert pixels_of(make(number)) == upright(plain, expected)


@pytest.mark.parametrize("number", range(1, 9))
def test_avif_is_turned_by_its_own_properties(number: int) -> None:
    if "AVIF" not in FORMATS:
        pytest.skip("this Pillow has no decoder for AVIF")
    seen = np.frombuffer(pixels_of(encoded(PLAIN, "AVIF", exif=oriented(number))), np.uint8)
    expected = np.frombuffer(upright(PNG, number), np.uint8)
    assert np.abs(seen.astype(int) - expected).mean() < 10


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", 1),
        (b"MM", 1),
        (HEADER, 1),
        (HEADER * 5 + oriented(6), 6),
        (oriented(6)[:8], 1),
        (oriented(6)[:20], 1),
        (b"XX" + oriented(6)[2:], 1),
        (exif(entry(0x0112, 4, 1, b"\0\0\0\6")), 6),
        (exif(entry(0x0112, 3, 2, b"\0\6\0\6")), 1),
        (exif(entry(0x0112, 3, 0, b"\0\6\0\0")), 1),
        (exif(entry(0x0112, 2, 1, b"6\0\0\0")), 1),
        (exif(entry(0x0112, 5, 1, bytes(4))), 1),
        (exif(entry(0x0112, 99, 1, b"\0\6\0\0")), 1),
        (exif(entry(0x0110, 2, 2**32 - 1, b"\xff" * 4), entry(0x0112, 3, 1, b"\0\6\0\0")), 6),
        (b"MM\0*\xff\xff\xff\xff" + oriented(6)[8:], 1),
        (b"MM\0+\0\x08\0\0" + b"\xff" * 30, 1),
        (b"MM\0*\0\0\0\x08\xff\xff" + oriented(6)[10:], 6),
    ],
)
def test_the_orientation_is_found_or_there_is_none(text: bytes, expected: int) -> None:
    assert orientation_of(text) == expected


# --- metadata that would keep the pixels from being read ------------------------------------------


def text_as_rational() -> bytes:
    numbers = exif(entry(0x010F, 5, 1, struct.pack(">I", 38)), *oriented_entries(), rest=b"\0" * 8)
    return in_jpeg(JPEG, HEADER + numbers)


def oriented_entries() -> list[bytes]:
    return [entry(0x0112, 3, 1, b"\0\6\0\0")]


def minus_one_over_zero() -> bytes:
    value = struct.pack(">ii", -1, 0)
    numbers = exif(entry(0x011A, 10, 1, struct.pack(">I", 38)), *oriented_entries(), rest=value)
    return in_jpeg(JPEG, HEADER + numbers)


PROFILE = b"name\0\0" + zlib.compress(bytes(5 << 20), 9)
ODD: list[tuple[str, bytes, Callable[[], bytes], int]] = [
    ("text as a number", JPEG, text_as_rational, 6),
    ("-1 / 0", JPEG, minus_one_over_zero, 6),
    ("profile of 5 MiB", PNG, lambda: in_png(PNG, chunk(b"iCCP", PROFILE)), 1),
    ("text of 5 MiB", PNG, lambda: in_png(PNG, chunk(b"zTXt", PROFILE)), 1),
    ("texts of 90 MiB", PNG, lambda: in_png(PNG, *[chunk(b"zTXt", PROFILE)] * 18), 1),
    ("wrong checksum", PNG, lambda: in_png(PNG, chunk(b"tIME", b"abc")[:-1] + b"x"), 1),
    ("odd animation", PNG, lambda: in_png(PNG, chunk(b"acTL", b""), chunk(b"fcTL", b"x")), 1),
    ("cut off behind the pixels", PNG, lambda: PNG[:-12] + chunk(b"eXIf", bytes(99))[:50], 1),
    ("JFIF without numbers", JPEG, lambda: in_jpeg(JPEG, b"JFIF\0", marker=0xE0), 1),
    ("broken list of pictures", JPEG, lambda: in_jpeg(JPEG, b"MPF\0MM\0*", marker=0xE2), 1),
    ("Photoshop", JPEG, lambda: in_jpeg(JPEG, b"Photoshop 3.0\0" + b"8BIM\3", marker=0xED), 1),
    ("1,000 profiles", JPEG, lambda: in_jpeg(JPEG, *[b"ICC_PROFILE\0"] * 1000, marker=0xE2), 1),
    ("TIFF", PNG, lambda: tiff_with(6, struct.pack("<HHII", 0x011A, 2, 9, 8)), 6),
    ("TIFF, -1 / 0", PNG, lambda: tiff_with(6, struct.pack("<HHII", 0x011A, 10, 1, 1 << 30)), 6),
    ("TIFF, EXIF", PNG, lambda: tiff_with(6, struct.pack("<HHII", 0x8769, 4, 1, 1 << 31)), 6),
    ("WebP", PNG, lambda: in_webp(WEBP, b"MM\0*\xff\xff\xff\xff"), 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "plain", "make", "number"), ODD, ids=[case[0] for case in ODD])
def test_odd_metadata_leaves_the_pixels(
    name: str, plain: bytes, make: Callable[[], bytes], number: int
) -> None:
    assert pixels_of(make()) == upright(plain, number)


def test_no_more_is_unpacked_of_a_text_than_an_orientation_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(png, "MAX_UNPACKED", 1000)
    text = XMP % 6 + bytes(10_000)
    packed = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)
    _, _, xmp = png.without_metadata(in_png(PNG, chunk(b"iTXt", packed)))
    assert xmp == text[:1000]


def test_transparency_is_no_metadata() -> None:
    palette = PLAIN.quantize(2)
    content = encoded(palette, transparency=palette.getpixel((0, 0)))
    assert pixels_of(content)[:3] == bytes(3)


@pytest.mark.parametrize("marker", [0xEE, 0xE0])
def test_what_says_how_colours_are_meant_is_no_metadata(marker: int) -> None:
    ycck = in_jpeg(encoded(PLAIN.convert("CMYK"), "JPEG"), b"x" * 20)
    assert pixels_of(ycck) == upright(ycck, 1)
    rgb = encoded(PLAIN, "JPEG", keep_rgb=True)
    assert pixels_of(in_jpeg(rgb, HEADER + oriented(1))) == upright(rgb, 1)


def test_bytes_between_segments_are_passed_over_as_decoders_do() -> None:
    odd = in_jpeg(JPEG, HEADER + oriented(6))
    place = odd.index(b"\xff\xdb")
    assert pixels_of(odd[:place] + b"\xff" * 9 + odd[place:]) == upright(JPEG, 6)


@pytest.mark.parametrize("length", range(0, 40, 3))
def test_a_file_that_ends_in_its_metadata_has_a_reason(length: int) -> None:
    for whole in (in_jpeg(JPEG, HEADER + oriented(6)), in_png(PNG, chunk(b"eXIf", oriented(6)))):
        with pytest.raises(ImageError):
            pixels_of(whole[:length])


# --- the shared cases -----------------------------------------------------------------------------

needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"needs {CASES}")


@needs_cases
def test_the_shared_cases_of_exif_show_the_picture_upright() -> None:
    plain = (CASES / "exif" / "plain-6.jpg").read_bytes()
    seen = {
        path.name: pixels_of(path.read_bytes()) for path in sorted((CASES / "exif").glob("*.jpg"))
    }
    assert seen.pop("orientation-9.jpg") == upright(plain, 1)
    assert len(seen) == 5
    assert set(seen.values()) == {upright(plain, 6)}


@needs_cases
def test_the_shared_png_with_a_profile_has_the_pixels_of_the_plain_one() -> None:
    with_profile, plain = (CASES / "png" / name for name in ("iccp.png", "plain.png"))
    assert pixels_of(with_profile.read_bytes()) == pixels_of(plain.read_bytes())


# --- mutations ------------------------------------------------------------------------------------

RICH = exif(
    entry(0x010F, 2, 6, struct.pack(">I", 98)),
    entry(0x0110, 2, 4, b"abc\0"),
    *oriented_entries(),
    entry(0x011A, 5, 1, struct.pack(">I", 104)),
    entry(0x0128, 3, 1, b"\0\2\0\0"),
    entry(0x8769, 4, 1, struct.pack(">I", 98)),
    entry(0x8825, 4, 1, struct.pack(">I", 98)),
    rest=b"maker\0" + struct.pack(">II", 72, 1) + bytes(40),
)


def mutated(rng: random.Random) -> bytes:
    """Change EXIF as broken programs and hostile hands do."""
    content = bytearray(RICH)
    kind = rng.randrange(5)
    if kind == 0:
        content = content[: rng.randrange(len(content))]
    elif kind == 1:
        content = bytearray(rng.randbytes(rng.randrange(200)))
    for _ in range(rng.randrange(1, 8) if content and kind != 2 else 0):
        content[rng.randrange(len(content))] = rng.choice((0, 1, 2, 5, 255, rng.randrange(256)))
    if kind == 2:
        place = 10 + 12 * rng.randrange(7)
        content[place + 2 : place + 8] = struct.pack(
            ">HI", rng.randrange(20), rng.choice((0, 1, 2, 2**31, 2**32 - 1))
        )
    return HEADER * rng.randrange(4) + bytes(content)


def mutated_tiff(rng: random.Random) -> bytes:
    """Change what is no tag of pixels."""
    others = []
    for tag in rng.sample((0x010F, 0x011A, 0x0128, 0x8769, 0x8825, 34675, 700), 4):
        kind, count = rng.randrange(20), rng.choice((0, 1, 9, 2**32 - 1))
        others.append(struct.pack("<HHII", tag, kind, count, rng.randrange(2**32)))
    return tiff_with(rng.randrange(12), *others)


def placed(rng: random.Random, kind: str) -> bytes:
    if kind == "TIFF":
        return mutated_tiff(rng)
    content = mutated(rng)
    if kind == "JPEG":
        return in_jpeg(JPEG, HEADER + content)
    if kind == "PNG":
        return in_png(PNG, chunk(b"eXIf", content), is_late=rng.random() < 0.3)
    return in_webp(WEBP, content)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_no_picture_is_refused_for_its_exif(kind: str, seed: int) -> None:
    rng = random.Random(f"{kind} {seed}")  # noqa: S311 - no secret
    plain = JPEG if kind == "JPEG" else PNG
    for _ in range(100):
        content = placed(rng, kind)
        assert pixels_of(content) == upright(plain, orientation_in(content))


def test_no_avif_is_refused_for_its_exif() -> None:
    if "AVIF" not in FORMATS:
        pytest.skip("this Pillow has no decoder for AVIF")
    words = [entry(tag, 2, 4, b"abc\0") for tag in (0x010D, 0x010E, 0x010F, 0x0110)]
    kept = exif(*words, *oriented_entries())
    whole = encoded(PLAIN, "AVIF", exif=kept)
    expected, place = pixels_of(whole), whole.index(kept[:8])
    rng = random.Random(0)  # noqa: S311 - no secret
    for _ in range(100):
        noise = mutated(rng)[: len(kept) - 12].ljust(len(kept) - 12, b"\xff")
        changed = whole[:place] + noise + whole[place + len(noise) :]
        assert pixels_of(changed) == expected


def test_an_end_marker_within_metadata_is_none() -> None:
    thumbnail = in_jpeg(JPEG[:-2], HEADER + oriented(6) + END)
    assert pixels_of(thumbnail) == upright(JPEG, 6)
    assert segment(0xFE, END) not in pixels_of(thumbnail)
