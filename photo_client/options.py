"""The command line of the client."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from faces.photo import MAX_SEND_SIDE
from faces.squares import DEFAULT_RESIZE
from utils.errors import UserError
from utils.paths import user_path, user_text

AGE_GENDER_URL = "http://127.0.0.1:10003/"
FACE_URL = "http://127.0.0.1:10002/"
FACE_PACK, AGE_MODEL, GENDER_MODEL = "buffalo_l", "models/age.pth", "models/gender.pth"
"""What --local takes where nothing else is given."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """What the command line says; see `client.py --help`.

    Raises:
        UserError: a number is out of its range, or options exclude each other.
    """

    image_path: Sequence[str]
    url_face: str | None = None
    url_age_gender: str | None = None
    mc_samples: int = 64
    resize: int = DEFAULT_RESIZE
    out_dir: Path | None = None
    timeout: float = 60.0
    json: bool = False
    local: bool = False
    face_pack: str | None = None
    age_model: str | None = None
    gender_model: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.resize <= MAX_SEND_SIDE:
            raise UserError(f"--resize is {self.resize}, expected 0 to {MAX_SEND_SIDE}")
        if self.mc_samples < 0:
            raise UserError(f"--mc-samples is {self.mc_samples}, expected 0 or more")
        if not self.timeout > 0:
            raise UserError(f"--timeout is {self.timeout:g}, expected more than 0 seconds")
        if self.local and (given := self._given("url_face", "url_age_gender")):
            raise UserError(f"--local asks no server: leave {given} out")
        if not self.local and (given := self._given("face_pack", "age_model", "gender_model")):
            raise UserError(f"without --local, servers have the networks: leave {given} out")

    def _given(self, *names: str) -> str:
        """Return the options of these that were given, in one line."""
        given = [name for name in names if getattr(self, name) is not None]
        return " and ".join(f"--{name.replace('_', '-')}" for name in given)


def parse_options(description: str | None, arguments: Sequence[str] | None = None) -> ClientOptions:
    """Read the command line; in its paths `~` becomes the home folder.

    Raises:
        UserError: as of `ClientOptions`, or a path is none.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(**{option.name: option.default for option in fields(ClientOptions)[1:]})
    add = parser.add_argument
    add("--image-path", nargs="+", required=True, help="photos, folders, or patterns as 'a/*.jpg'")
    add("--url-face", help=f"face server (default: what has a face pack, else {FACE_URL})")
    add("--url-age-gender", help=f"age-gender server (default: {AGE_GENDER_URL})")
    add("--mc-samples", type=int, help="passes for the uncertainty, or 0 (default: %(default)s)")
    add("--resize", type=int, help="side of the square sent; 0: the file (default: %(default)s)")
    add("--out-dir", help="folder to write to (default: beside the photos)")
    add("--timeout", type=float, help="seconds a server may take (default: %(default)s)")
    add("--json", action="store_true", help="print JSON, not a table")
    add("--local", action="store_true", help="run all networks in this program, without servers")
    add("--face-pack", help=f"model pack, a name or folder, for --local (default: {FACE_PACK})")
    add("--age-model", help=f"file for --local (default: {AGE_MODEL})")
    add("--gender-model", help=f"file for --local (default: {GENDER_MODEL})")
    given = vars(parser.parse_args(arguments))
    given["image_path"] = [user_text(text, "--image-path") for text in given["image_path"]]
    if given["out_dir"] is not None:
        given["out_dir"] = user_path(given["out_dir"], "--out-dir")
    return ClientOptions(**given)
