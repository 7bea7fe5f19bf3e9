"""What a picture can fail of: whatever it raises becomes one error with a reason to count by."""

import struct
import traceback
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from PIL import Image, UnidentifiedImageError

from utils.text import in_one_line

NO_IMAGE: Final = "not an image"
TOO_LARGE: Final = "image too large"
DAMAGED: Final = "truncated or damaged image"

_OF_DAMAGED_FILES = (
    *(OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error, OverflowError, UserWarning),
)
"""What Pillow raises for a damaged file; warnings, where they are made errors."""


class ImageError(Exception):
    """A picture cannot be used.

    Attributes:
        reason: in few words, the same for all pictures that fail alike.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)  # both, so that it can be pickled
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def silence_decoders() -> None:
    """Keep what Pillow warns of out of a server's log: it tells of the files that people send."""
    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")


@contextmanager
def one_picture() -> Iterator[None]:
    """Turn whatever the block raises into the failure of one picture, so that others go on.

    What only an error of the program raises keeps the name of its kind as the reason, so that it
    is seen where failures are counted.

    Raises:
        ImageError: anything but an interruption was raised.
    """
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(NO_IMAGE) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, MemoryError):
        raise ImageError(TOO_LARGE) from None
    except _OF_DAMAGED_FILES as error:
        raise ImageError(DAMAGED, in_one_line(error)) from None
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
        reason = f"cannot be decoded ({type(error).__name__})"
        raise ImageError(reason, f"{in_one_line(error)} at {where}") from error
