"""Standard output and error that end no program: whatever is printed, and whoever stops reading."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO


def encodable(text: str, stream: Any) -> str:
    r"""Replace what a stream's encoding has no bytes for by its number.

    >>> import io
    >>> encodable("3 ± 1", io.TextIOWrapper(io.BytesIO(), "ascii"))
    '3 \\xb1 1'
    """
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def say(text: str) -> None:
    """Print a line on standard output, in any encoding."""
    print(encodable(text, sys.stdout))


class Console:
    """Standard output or error, which a program can always write to.

    Once nobody takes what is written (a pipe to `head`, a full disk), the rest is dropped.

    Attributes:
        loss: why the rest was dropped; None as long as all of it arrived.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.loss: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as much as the stream takes, and return the number of characters."""
        try:
            self._stream.write(encodable(text, self._stream))
        except OSError as error:
            self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Bring out what was written."""
        try:
            self._stream.flush()
        except OSError as error:
            self._lose(error)

    def _lose(self, error: OSError) -> None:
        """Lead what is still in buffers, and all that comes, to nowhere."""
        self.loss = self.loss or error
        with suppress(OSError, ValueError):  # a stream without a file
            handle = os.open(os.devnull, os.O_WRONLY)
            os.dup2(handle, self._stream.fileno())
            os.close(handle)


@contextmanager
def lasting_consoles() -> Iterator[Console]:
    """Make standard output and error last for the block; gives the first.

    One that is closed from the start leads to nowhere.
    """
    before = sys.stdout, sys.stderr
    with ExitStack() as stack:
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        out, err = (Console(stream or nowhere) for stream in before)
        sys.stdout, sys.stderr = out, err
        try:
            yield out
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before


def is_reader_gone(error: OSError) -> bool:
    """Tell whether output was lost because its reader has seen enough, as `head` has."""
    return error.errno == errno.EPIPE
