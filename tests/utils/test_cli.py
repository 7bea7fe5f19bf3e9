import errno
import logging
import subprocess
import sys

import pytest
from helpers import ROOT

from utils.cli import Interrupted, run
from utils.errors import CheckpointError, ConfigError, DataError, DivergedError

OUTCOMES: list[tuple[BaseException, int, str]] = [
    (ConfigError("config: a: missing"), 2, "error: config: a: missing\n"),
    (DataError("no such data file"), 2, "error: no such data file\n"),
    (CheckpointError("damaged"), 2, "error: damaged\n"),
    (DivergedError("the loss became nan"), 2, "error: the loss became nan\n"),
    (OSError(errno.ENOSPC, "No space left on device"), 2, "error: No space left on device\n"),
    (FileExistsError(errno.EEXIST, "File exists", "x.pth"), 2, "error: x.pth: File exists\n"),
    (OSError("without a number"), 2, "error: without a number\n"),
    (KeyboardInterrupt(), 130, "interrupted\n"),
    (Interrupted("go on with -r x.pth"), 130, "go on with -r x.pth\n"),
    (Interrupted("go on with -r x.pth", 143), 143, "go on with -r x.pth\n"),
]


@pytest.mark.parametrize(("error", "exit_code", "line"), OUTCOMES)
def test_what_a_user_can_mend_is_one_line_and_an_exit_code(
    error: BaseException, exit_code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == exit_code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize("value", ["x" * 10_000, f"folder/{'y' * 10_000}"])
def test_an_error_does_not_repeat_a_value_of_thousands_of_characters(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def main() -> None:
        if value.startswith("x"):
            raise FileNotFoundError(errno.ENOENT, "No such file", value)
        raise DataError(f"{value}: no such file; make it with {value}")

    with pytest.raises(SystemExit):
        run(main)
    error = capsys.readouterr().err
    assert len(error) < 2100
    assert "... " in error
    assert error.lower().count("no such file") == 1


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), AssertionError()])
def test_errors_of_the_program_itself_keep_their_traceback(error: Exception) -> None:
    def main() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error


def test_log_lines_of_the_program_go_to_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main() -> None:
        logging.getLogger("age_gender.part").info("a result")
        logging.getLogger("age_gender.part").debug("a detail")
        logging.getLogger("someone.else").info("not ours")

    run(main)
    run(main)  # a second set-up does not print twice
    assert capsys.readouterr().out == "a result\n" * 2


def test_reading_the_command_line_does_not_import_torch() -> None:
    code = (
        "import sys, utils.cli, utils.config, utils.files, utils.log, utils.options;"
        "import utils.runtime, utils.schema;"
        "utils.options.script_parser('a script', 'train.json').parse_args([]);"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60
    )
    assert done.returncode == 0
