"""A small synthetic stand-in for Adience, IMDB and WIKI, in the layout of the real downloads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from extraction import adience, imdb_wiki
from extraction.cleaning import SAMPLE_MARK
from extraction.cleaning_rules import (
    DET_SCORE,
    KeptFace,
    RemovalCause,
    choose_face,
    missing_label,
)
from extraction.data_file import DataFiles, write_data_file
from extraction.image_labels import ImageLabels
from sample.adience import write_folds
from sample.grid_faces import JPEG_QUALITY
from sample.imdb_wiki import write_mat
from sample.people import FaceSpace, SamplePhoto
from sample.pictures import picture_bytes
from utils.cli import say
from utils.errors import DataError
from utils.files import read_json, refuse_unwritable, write_json
from utils.locks import remove_leftovers

FORMAT = 2
"""Goes up when the same arguments give other files."""

RESIZE = 640
EXTRACTOR = {
    "server": "synthetic sample",
    "synthetic": True,
    "resize": RESIZE,
    "jpeg_quality": JPEG_QUALITY,
}
NUM_FACES = {"no face": 0, "face": 1, "two faces": 2}
"""Faces that will be found in the kinds of photos that the face server can use."""

README = """\
SYNTHETIC DATA: made by a program, from random numbers. No person is shown or described here.

These folders have the layout of the downloads of Adience, IMDB and WIKI, with the quirks of their
labels, so that every program can be tried without them. A picture holds a made-up embedding as a
grid of grey squares, which `python -m sample.stand_in_server` reads in place of a face recogniser.
The cleaned files (*.npy, meta-data*.json) hold the same embeddings as they were drawn.

Scores on this data say that the programs work; they say nothing about real faces.
Made by make_sample_data with seed {seed}: {num_adience} images of Adience, {num_imdb} of IMDB and
{num_wiki} of WIKI. Delete the folder to make another.
"""


def make_sample_data(
    out_dir: Path | str = "data/sample",
    seed: int = 0,
    num_adience: int = 1000,
    num_imdb: int = 1300,
    num_wiki: int = 600,
) -> Path:
    """Write the synthetic sample, unless it is there already, and return its folder.

    The folder gets `Adience`, `imdb_crop` and `wiki_crop` with labels, pictures and the cleaned
    files, everything marked as synthetic. The same arguments give the same npy files. A sample that
    was cut short is completed by the next call.

    Raises:
        DataError: the folder holds something else, or a sample made with other arguments.
        PathError: it cannot be written.
    """
    out_dir = Path(out_dir)
    sizes = {"num_adience": num_adience, "num_imdb": num_imdb, "num_wiki": num_wiki}
    if min(sizes.values()) < 1:
        raise DataError(f"every size has to be 1 or more, got {sizes}")
    state = {"synthetic": True, "format": FORMAT, "seed": seed, **sizes}
    if _is_complete(out_dir, state):
        say(f"{out_dir}: the synthetic sample is there already")
        return out_dir
    refuse_unwritable(out_dir)
    write_json(state | {"complete": False}, out_dir / SAMPLE_MARK)
    readme = README.format(seed=seed, **sizes)
    (out_dir / "README.txt").write_text(readme, encoding="utf-8")
    num_kept = _write_datasets(out_dir, seed, sizes)
    write_json(state | {"complete": True}, out_dir / SAMPLE_MARK)
    say(
        f"{out_dir}: synthetic sample (no real faces), {sum(sizes.values()):,} pictures, and "
        f"{num_kept:,} faces in ready-made data files"
    )
    return out_dir


def _is_complete(out_dir: Path, state: dict[str, Any]) -> bool:
    """Return whether the sample is there, whole; refuse to write over anything else."""
    if not out_dir.exists():
        return False
    if not out_dir.is_dir():
        raise DataError(f"{out_dir} is a file, expected a new folder for the sample")
    if not (out_dir / SAMPLE_MARK).is_file():
        if any(out_dir.iterdir()):
            raise DataError(
                f"{out_dir} holds files that are not a synthetic sample; name a new folder"
            )
        return False
    found = read_json(out_dir / SAMPLE_MARK)
    if not isinstance(found, dict):
        raise DataError(f"{out_dir / SAMPLE_MARK} is not that of a sample; name a new folder")
    complete = bool(found.pop("complete", False))
    if found != state:
        raise DataError(
            f"{out_dir} holds a sample made with {found}, asked for was {state}; delete the folder "
            "or name a new one"
        )
    return complete


def _write_datasets(out_dir: Path, seed: int, sizes: dict[str, int]) -> int:
    """Write the three data sets and return the number of images that the cleaning keeps."""
    num_kept = 0
    with tqdm(total=sum(sizes.values()), desc="synthetic sample", unit="image") as progress:
        for number, name in enumerate(("adience", "imdb", "wiki"), start=1):
            space = FaceSpace(seed, dataset_number=number)
            folder = out_dir / ("Adience" if name == "adience" else f"{name}_crop")
            folder.mkdir(exist_ok=True)
            remove_leftovers(folder)
            if name == "adience":
                photos = write_folds(folder, sizes["num_adience"], space)
            else:
                photos = write_mat(folder, name, sizes[f"num_{name}"], space)
            for photo in photos:
                content = picture_bytes(photo, space.rng)
                if content is not None:
                    path = folder / photo.image_path
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                progress.update()
            num_kept += _write_cleaned(folder, name, photos)
    return num_kept


def _write_cleaned(folder: Path, name: str, photos: Sequence[SamplePhoto]) -> int:
    """Write what the cleaning of the folder gives: the array of kept images, and the counts."""
    is_adience = name == "adience"
    images = adience.read_labels(folder) if is_adience else imdb_wiki.read_labels(folder, name)
    by_path = {photo.image_path: photo for photo in photos}
    counts = write_data_file(
        DataFiles(folder, "aligned" if is_adience else None),
        images,
        (_judge(image, by_path[image.image_path], is_adience) for image in images),
        {"det_score": DET_SCORE, "resize": RESIZE, "extractor": EXTRACTOR},
    )
    return counts.num_kept


def _judge(image: ImageLabels, photo: SamplePhoto, is_adience: bool) -> KeptFace | RemovalCause:
    """Judge a photo by what the face server will find: of two faces its own is in the middle."""
    if cause := missing_label(image):
        return cause
    if photo.kind not in NUM_FACES:
        return RemovalCause.FAILED
    faces = [KeptFace(photo.embedding, photo.det_score)] * NUM_FACES[photo.kind]
    return choose_face(faces, DET_SCORE, (lambda both: both[0]) if is_adience else None)
