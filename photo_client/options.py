"""The command line of the client."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from faces.photo import MAX_SEND_SIDE
from faces.squares import DEFAULT_RESIZE
from photo_client.clip_reader import DEFAULT_PIXELS, DEFAULT_SECONDS, MAX_FRAMES_PER_S
from photo_client.clip_writer import CODECS
from utils.errors import UserError
from utils.paths import user_path, user_text

AGE_GENDER_URL = "http://127.0.0.1:10003/"
FACE_URL = "http://127.0.0.1:10002/"
FACE_PACK, AGE_MODEL, GENDER_MODEL = "buffalo_l", "models/age.pth", "models/gender.pth"
"""What --local takes where nothing else is given."""

MAX_SECONDS = 24 * 3600


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
    fps: float = 5.0
    codec: str = "auto"
    max_seconds: float = DEFAULT_SECONDS
    max_pixels: int = DEFAULT_PIXELS

    def __post_init__(self) -> None:
        if not 0 <= self.resize <= MAX_SEND_SIDE:
            raise UserError(f"--resize is {self.resize}, expected 0 to {MAX_SEND_SIDE}")
        if self.mc_samples < 0:
            raise UserError(f"--mc-samples is {self.mc_samples}, expected 0 or more")
        if not 0.1 <= self.fps <= MAX_FRAMES_PER_S:
            raise UserError(f"--fps is {self.fps:g}, expected 0.1 to {MAX_FRAMES_PER_S}")
        if not 0 < self.max_seconds <= MAX_SECONDS:
            raise UserError(f"--max-seconds is {self.max_seconds:g}, expected 0 to {MAX_SECONDS}")
        if self.max_pixels < 4:
            raise UserError(f"--max-pixels is {self.max_pixels}, expected 4 or more")
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
    what = "photos, clips, folders, or patterns as 'a/*.jpg'"
    add("--image-path", nargs="+", required=True, help=what)
    add("--url-face", help=f"face server (default: what has a face pack, else {FACE_URL})")
    add("--url-age-gender", help=f"age-gender server (default: {AGE_GENDER_URL})")
    add("--mc-samples", type=int, help="passes for the uncertainty, or 0 (default: %(default)s)")
    add("--resize", type=int, help="side of the square sent; 0: the file (default: %(default)s)")
    add("--out-dir", help="folder to write to (default: beside the originals)")
    add("--timeout", type=float, help="seconds a server may take (default: %(default)s)")
    add("--fps", type=float, help="of clips: frames a second to look at (default: %(default)s)")
    add("--codec", choices=CODECS, help="of annotated clips (default: %(default)s)")
    add("--max-seconds", type=float, help="most seconds of a clip (default: %(default)s)")
    add("--max-pixels", type=int, help="most pixels of its frames (default: %(default)s)")
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
