"""What every script does around its one call: log lines, errors as one line, exit codes."""

import sys
from collections.abc import Callable

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

    Errors of the program itself keep their traceback.
    """
    log_to_console()
    try:
        main()
    except Interrupted as interrupted:
        print(interrupted, file=sys.stderr)
        sys.exit(interrupted.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:  # a reader such as head has seen enough
        sys.stderr.close()
        sys.exit(EXIT_BROKEN_PIPE)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"error: {where}{error.strerror or error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
