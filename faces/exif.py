"""The orientation of a picture: the one thing of its metadata that is read."""

import re

from faces.tiff import read_directory

UPRIGHT = 1
ORIENTATIONS = range(1, 9)
_HEADERS = re.compile(rb"(?:Exif\0\0)*")
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')


def orientation_of(exif: bytes | None, xmp: bytes | None = None) -> int:
    r"""Return the orientation, 1 to 8; what does not exist, or cannot be read, is upright.

    Args:
        exif: with or without its header, which some programs write twice.
        xmp: where the EXIF holds no orientation.

    >>> orientation_of(b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0")
    6
    >>> orientation_of(None, b'<x tiff:Orientation="3"/>')
    3
    """
    found = None
    if exif:
        directory = read_directory(_HEADERS.sub(b"", exif, count=1))
        found = directory.orientation() if directory is not None else None
    if found is None and xmp and (match := _XMP.search(xmp)):
        found = int(match[1])
    return UPRIGHT if found is None or found not in ORIENTATIONS else found
