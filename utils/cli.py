"""What every script does around its one call: output that ends no program, errors, exit codes."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from utils.errors import UserError
from utils.log import Stream, log_to_console
from utils.text import cut_words, encodable

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
MAX_WORD = 1000
"""Characters of a word on standard error."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM was heeded after the work was saved; the message says how to go on."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED):
        super().__init__(message)
        self.exit_code = exit_code


def run(main: Callable[[], object], logs_to: Stream = "stdout") -> None:
    """Run a script's main function and exit: 0 done, 2 an error the user can mend, 130 Ctrl-C.

    Work goes on when nobody reads what is printed any more; then a script that is done exits with
    141 where its reader left, as `head` does, and with 2 where the output could not be written.
    Errors of the program itself keep their traceback.

    Args:
        main: the function.
        logs_to: where log lines are shown; "stderr" where standard output is for other programs.
    """
    log_to_console(logs_to)
    with lasting_consoles() as output:
        code = _exit_code(main)
        output.flush()
        if code == 0 and output.loss is not None:
            code = _code_of_lost_output(output.loss)
    if code != 0:
        sys.exit(code)


def _exit_code(main: Callable[[], object]) -> int:
    """Call a main function; print what a user can mend as one line."""
    try:
        main()
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        return interrupted.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        return EXIT_USER_ERROR
    return 0


def _code_of_lost_output(loss: OSError) -> int:
    if loss.errno == errno.EPIPE:  # its reader has seen enough, as `head` has
        return EXIT_BROKEN_PIPE
    print(
        f"error: not all that was printed could be written ({loss.strerror or loss}); files that "
        "this program writes are whole",
        file=sys.stderr,
    )
    return EXIT_USER_ERROR


def say(text: str) -> None:
    """Print a line on standard output, in any encoding."""
    print(encodable(text, sys.stdout))


class Console:
    """Standard output or error, which a program can always write to.

    Once nobody takes what is written (a pipe to `head`, a full disk), the rest is dropped.

    Args:
        stream: to write to.
        cuts_words: shorten words that are longer than any path, as errors repeat what was given.

    Attributes:
        loss: why the rest was dropped; None as long as all of it arrived.
    """

    def __init__(self, stream: TextIO, cuts_words: bool = False):
        self._stream, self._cuts_words = stream, cuts_words
        self.loss: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as much as the stream takes, and return the number of characters."""
        try:
            cut = cut_words(text, MAX_WORD) if self._cuts_words else text
            self._stream.write(encodable(cut, self._stream))
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
        out, err = Console(before[0] or nowhere), Console(before[1] or nowhere, cuts_words=True)
        sys.stdout, sys.stderr = out, err
        try:
            yield out
        finally:
            out.flush()
            err.flush()
            sys.stdout, sys.stderr = before
