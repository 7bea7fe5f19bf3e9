"""Files of pictures for tests, made by hand where no program writes what cameras write."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from faces.pictures import Limits, opened

SIZE = (48, 64)


def coarse(size: tuple[int, int] = SIZE, seed: int = 0) -> Image.Image:
    """Draw soft spots of all colours, which no turn maps onto themselves."""
    spots = np.random.default_rng(seed).integers(0, 256, (5, 4, 3), np.uint8)
    return Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def pixels_of(content: bytes) -> bytes:
    """Decode by the project's decoder: upright, RGB."""
    with opened(content, Limits()) as picture:
        return picture.upright().convert("RGB").tobytes()


def orientation_in(content: bytes) -> int:
    with opened(content, Limits()) as picture:
        return picture.orientation


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    """Write an entry of an EXIF directory, big-endian."""
    return struct.pack(">HHI4s", tag, kind, count, value)


def exif(*entries: bytes, rest: bytes = b"") -> bytes:
    """Write EXIF of one directory, without header; `rest` begins at 14 + 12 x entries."""
    directory = struct.pack(">H", len(entries)) + b"".join(entries) + bytes(4)
    return b"MM\0*\0\0\0\x08" + directory + rest


def oriented(number: int) -> bytes:
    return exif(entry(0x0112, 3, 1, struct.pack(">HH", number, 0)))


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def in_jpeg(jpeg: bytes, *bodies: bytes, marker: int = 0xE1) -> bytes:
    """Put segments at the beginning of a JPEG."""
    return jpeg[:2] + b"".join(segment(marker, body) for body in bodies) + jpeg[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + body))
    return struct.pack(">I", len(body)) + name + body + checksum


def in_png(png: bytes, *chunks: bytes, is_late: bool = False) -> bytes:
    """Put chunks behind the header of a PNG, or before its end."""
    place = len(png) - 12 if is_late else 33
    return png[:place] + b"".join(chunks) + png[place:]


def in_webp(webp: bytes, body: bytes, name: bytes = b"EXIF") -> bytes:
    """Replace the metadata of a WebP that Pillow wrote with some."""
    padded = body + bytes(len(body) % 2)
    content = webp[: webp.rindex(name)] + name + struct.pack("<I", len(body)) + padded
    return b"RIFF" + struct.pack("<I", len(content) - 8) + content[8:]
