"""The command line of the client."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from faces.photo import MAX_SEND_SIDE
from faces.squares import DEFAULT_RESIZE
from photo_client.answers import Wanted
from photo_client.clip_reader import DEFAULT_PIXELS, DEFAULT_SECONDS, MAX_FRAMES_PER_S
from photo_client.clip_writer import CODECS
from serving.face_confidence import EXPECTED_THRESHOLDS, LEVEL, ConfidenceQuery
from utils.errors import UserError
from utils.paths import user_path, user_text
from utils.text import shown

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
    mc_samples: int = 0
    level: float = LEVEL
    over: tuple[int, ...] = ()
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
        if not self.image_path:
            raise UserError("nothing to annotate; name photos or clips: python client.py photo.jpg")
        ranges = {
            "resize": (0 <= self.resize <= MAX_SEND_SIDE, f"0 to {MAX_SEND_SIDE}"),
            "mc_samples": (self.mc_samples >= 0, "0 or more"),
            "fps": (0.1 <= self.fps <= MAX_FRAMES_PER_S, f"0.1 to {MAX_FRAMES_PER_S}"),
            "max_seconds": (0 < self.max_seconds <= MAX_SECONDS, f"0 to {MAX_SECONDS}"),
            "max_pixels": (self.max_pixels >= 4, "4 or more"),
            "timeout": (self.timeout > 0, "more than 0 seconds"),
        }
        for name, (is_within, expected) in ranges.items():
            if not is_within:
                value = getattr(self, name)
                got = f"{value:g}" if isinstance(value, float) else value
                raise UserError(f"{_option(name)} is {got}, expected {expected}")
        ConfidenceQuery(self.level, self.over)  # refuses what is out of its range
        if self.local and (given := self._given("url_face", "url_age_gender")):
            raise UserError(f"--local asks no server: leave {given} out")
        if not self.local and (given := self._given("face_pack", "age_model", "gender_model")):
            raise UserError(f"without --local, servers have the networks: leave {given} out")

    @property
    def wanted(self) -> Wanted:
        """What is asked of each face."""
        return Wanted(self.mc_samples, ConfidenceQuery(self.level, self.over))

    def _given(self, *names: str) -> str:
        """Return the options of these that were given, in one line."""
        given = [name for name in names if getattr(self, name) is not None]
        return " and ".join(map(_option, given))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


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
    add("paths", nargs="*", metavar="PHOTO", help=what)
    add("--image-path", nargs="+", default=[], metavar="PHOTO", help="the same")
    add("--url-face", help=f"face server (default: what has a face pack, else {FACE_URL})")
    add("--url-age-gender", help=f"age-gender server (default: {AGE_GENDER_URL})")
    add("--over", type=_ages, metavar="AGES", help="as 18,25: how probably each face is that old")
    held = "share of people whose range holds their age (default: %(default)s)"
    add("--level", type=float, help=held)
    mean = "take the mean of so many passes with dropout, another one each time (default: none)"
    add("--mc-samples", type=int, metavar="N", help=mean)
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
    given = vars(parser.parse_intermixed_args(arguments))
    paths = given.pop("paths") + given["image_path"]
    given["image_path"] = [user_text(text, "--image-path") for text in paths]
    if given["out_dir"] is not None:
        given["out_dir"] = user_path(given["out_dir"], "--out-dir")
    return ClientOptions(**given)


def _ages(text: str) -> tuple[int, ...]:
    """Read ages in years, with commas between them.

    Raises:
        ArgumentTypeError: it holds something else.

    >>> _ages("18,25")
    (18, 25)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{shown(text)}, {EXPECTED_THRESHOLDS}") from None
