"""What every script does around its one call: log lines, errors as one line, exit codes."""

import sys
from collections.abc import Callable

from utils.console import is_reader_gone, lasting_consoles
from utils.errors import UserError
from utils.log import log_to_console

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM was heeded after the work was saved; the message says how to go on."""

    def __init__(self, message: str, exit_code: int = EXIT_INTERRUPTED):
        super().__init__(message)
        self.exit_code = exit_code


def run(main: Callable[[], object]) -> None:
    """Run a script's main function and exit: 0 done, 2 an error the user can mend, 130 Ctrl-C.

    Work goes on when nobody reads what is printed any more; then a script that is done exits with
    141 where its reader left, as `head` does, and with 2 where the output could not be written.
    Errors of the program itself keep their traceback.
    """
    log_to_console()
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
    if is_reader_gone(loss):
        return EXIT_BROKEN_PIPE
    print(
        f"error: not all that was printed could be written ({loss.strerror or loss}); files that "
        "this program writes are whole",
        file=sys.stderr,
    )
    return EXIT_USER_ERROR
