"""The command line of the client."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from faces.photo import MAX_SEND_SIDE
from faces.squares import DEFAULT_RESIZE
from utils.errors import UserError
from utils.paths import user_path, user_text


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What the command line says; see `client.py --help`.

    Raises:
        UserError: a number is out of its range.
    """

    image_path: Sequence[str]
    url_face: str = "http://127.0.0.1:10002/"
    url_age_gender: str = "http://127.0.0.1:10003/"
    mc_samples: int = 64
    resize: int = DEFAULT_RESIZE
    out_dir: Path | None = None
    timeout: float = 60.0
    json: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.resize <= MAX_SEND_SIDE:
            raise UserError(f"--resize is {self.resize}, expected 0 to {MAX_SEND_SIDE}")
        if self.mc_samples < 0:
            raise UserError(f"--mc-samples is {self.mc_samples}, expected 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout is {self.timeout:g}, expected more than 0 seconds")


def parse_options(description: str | None, arguments: Sequence[str] | None = None) -> ClientOptions:
    """Read the command line; in its paths `~` becomes the home folder.

    Raises:
        UserError: a number is out of its range, or a path is none.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(**{option.name: option.default for option in fields(ClientOptions)[1:]})
    add = parser.add_argument
    add("--image-path", nargs="+", required=True, help="photos, folders, or patterns as 'a/*.jpg'")
    add("--url-face", help="face server (default: %(default)s)")
    add("--url-age-gender", help="age-gender server (default: %(default)s)")
    add("--mc-samples", type=int, help="passes for the uncertainty, or 0 (default: %(default)s)")
    add("--resize", type=int, help="side of the square sent; 0: the file (default: %(default)s)")
    add("--out-dir", help="folder to write to (default: beside the photos)")
    add("--timeout", type=float, help="seconds a server may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON, not a table")
    given = vars(parser.parse_args(arguments))
    given["image_path"] = [user_text(text, "--image-path") for text in given["image_path"]]
    if given["out_dir"] is not None:
        given["out_dir"] = user_path(given["out_dir"], "--out-dir")
    return ClientOptions(**given)
