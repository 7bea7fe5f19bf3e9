"""Why a photo fails, and the advice where a server does not answer as it should."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from http_client.errors import ServerAwayError
from utils.errors import UserError
from utils.text import in_one_line


class PhotoError(Exception):
    """One photo fails; the others go on.

    Attributes:
        reason: in few words, the same for all photos that fail alike.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what hinders the block from writing a file into the failure of its photo.

    Raises:
        PhotoError: the file cannot be written.
    """
    try:
        yield
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise PhotoError("cannot be written", f"{path}, {in_one_line(error)}") from None


@dataclass(frozen=True, slots=True)
class ServerRole:
    """What messages call a server, what starts it, and the option that has its address."""

    name: str
    start: str
    option: str

    def away(self, url: str, error: ServerAwayError) -> UserError:
        """Return the error for a server that gives no answer."""
        if error.has_remedy:
            return UserError(
                f"the {self.name} at {url} cannot be asked: {error}; or give its address with "
                f"{self.option}"
            )
        return UserError(
            f"the {self.name} at {url} is away ({error}); start it with {self.start}, or give its "
            f"address with {self.option}, or ask no server with --local"
        )

    def busy(self, url: str, problem: Exception) -> UserError:
        """Return the error for a server that stays busy."""
        return UserError(f"the {self.name} at {url} stays busy ({problem}); try again later")

    def another(self, url: str, problem: str) -> UserError:
        """Return the error for a server that answers as none of this kind does."""
        return UserError(
            f"what answers at {url} is no {self.name} ({problem}); give its address with "
            f"{self.option}"
        )


FACE_SERVER = ServerRole("face server", "`python -m face_server`", "--url-face")
AGE_GENDER_SERVER = ServerRole("age-gender server", "`python app.py`", "--url-age-gender")
