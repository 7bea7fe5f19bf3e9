"""Guess ages and genders of people: photo.jpg to photo.ANNOTATED.jpg, and a table.

python client.py photo.jpg
python client.py album 'other/*.png' --out-dir annotated --json
python client.py clip.mp4 --over 18

A clip becomes clip.ANNOTATED.mp4, without sound, and clip.PEOPLE.json, which says who is seen when.
With --local nothing else needs to run. Without it, `python app.py` does (--url-age-gender), and,
unless that has a face pack, a face server too (--url-face).
Ends with 0 when all was annotated, 1 when some failed, 2 when nothing could be done.
"""

import sys

from photo_client.client import run_client
from photo_client.options import parse_options
from utils.cli import run


def main() -> None:
    """Read the command line and annotate."""
    sys.exit(run_client(parse_options(__doc__)))


if __name__ == "__main__":
    run(main, logs_to="stderr")
