"""From the stored answers of the face server to the data files that training reads.

`clean_adience` and `clean_imdb_wiki` read the labels, judge every image by the rules of
`data_loader.cleaned`, and write data file, counts, a picture of the ages, and a list of the files
that could not be used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_loader import adience, imdb_wiki
from data_loader.cleaned import DET_SCORE, Face, Record, Removed, judge_faces, missing_label
from data_loader.cleaned_files import (
    CleanedPaths,
    NothingLeftError,
    Settings,
    cleaned_paths,
    write_cleaned,
)
from data_loader.sample import STATE_FILE
from extraction.embeddings import RESIZED_SUFFIX, EmbeddingStore, MissingError, UnusableError
from extraction.failures import Failures
from extraction.record import OTHERS, RECORD_NAME, read_record
from extraction.stats import plot_ages, table
from utils.errors import DataError
from utils.log import get_logger

PICTURE_NAME = "ages.png"

_logger = get_logger("cleaning")


@dataclass(frozen=True, slots=True)
class CleaningOptions:
    """How to clean.

    Attributes:
        resize: side of the square that was sent to the face server, in pixels; None or 0 when the
            images were sent as they are.
        det_score: lowest score of the detector that is good enough, 0 to 1.
        data_dir: folder that holds `Adience`, `imdb_crop` and `wiki_crop`.
        remove_corrupt: delete the stored answers that are corrupt, so that the next extraction
            asks for them again.
    """

    resize: int | None = 640
    det_score: float = DET_SCORE
    data_dir: Path | str = "data"
    remove_corrupt: bool = False

    def check(self) -> None:
        """Check the values.

        Raises:
            DataError: one is out of range or of the wrong kind; the message names all.
        """
        problems = []
        if self.resize is not None and (type(self.resize) is not int or self.resize < 0):
            problems.append(f"resize is {self.resize!r}, expected pixels such as 640, 0 or None")
        is_number = isinstance(self.det_score, int | float) and type(self.det_score) is not bool
        if not is_number or not 0 <= self.det_score <= 1:
            problems.append(f"det_score is {self.det_score!r}, expected a number from 0 to 1")
        if problems:
            raise DataError("; ".join(problems))


@dataclass(frozen=True, slots=True)
class _Source:
    """One data set to clean; `image_type` is that of Adience, None for the others."""

    name: str
    folder: Path
    records: Sequence[Record]
    image_type: str | None
    extract_command: str

    @property
    def paths(self) -> CleanedPaths:
        return cleaned_paths(self.folder, self.image_type)

    @property
    def corrupt_path(self) -> Path:
        ending = "" if self.image_type is None else f"-{self.image_type}"
        return self.folder / f"corrupt{ending}.csv"


def clean_adience(image_type: str, options: CleaningOptions) -> Path:
    """Clean Adience's 'aligned' or 'raw' images and return the path of the data file.

    Raises:
        DataError: unknown image type, missing or foreign label files, no images, no embeddings,
            no image left, no space left.
    """
    options.check()
    adience.check_image_type(image_type)
    folder = Path(options.data_dir) / "Adience"
    return _clean(
        _Source(
            name=_title(f"Adience, {image_type} images", options),
            folder=folder,
            records=adience.read_records(folder, image_type),
            image_type=image_type,
            extract_command=f"extract_Adience_arcface({image_type!r}, resize={options.resize})",
        ),
        options,
    )


def clean_imdb_wiki(dataset: str, options: CleaningOptions) -> Path:
    """Clean 'imdb' or 'wiki' and return the path of the data file.

    Raises:
        DataError: unknown data set, a missing or foreign .mat file, no images, no embeddings, no
            image left, no space left.
    """
    options.check()
    imdb_wiki.check_name(dataset)
    folder = Path(options.data_dir) / f"{dataset}_crop"
    return _clean(
        _Source(
            name=_title(dataset.upper(), options),
            folder=folder,
            records=imdb_wiki.read_records(folder, dataset),
            image_type=None,
            extract_command=f"extract_imdb_wiki_arcface({dataset!r}, resize={options.resize})",
        ),
        options,
    )


def _clean(source: _Source, options: CleaningOptions) -> Path:
    is_adience = source.image_type is not None
    resize, det_score = options.resize or 0, float(options.det_score)
    store = EmbeddingStore(source.folder, resize)
    _refuse_nothing_stored(source, store)
    settings = Settings(is_adience, det_score, resize, _extractor(source.folder, resize))
    judge = _Judge(store, det_score, is_adience)
    outcomes = _with_progress(judge, source)
    try:
        tally = write_cleaned(source.records, outcomes, settings, source.paths)
    except NothingLeftError:
        judge.failures.report(source.corrupt_path, options.remove_corrupt)
        raise
    plot_ages(tally, f"{source.name}: ages of the faces kept", source.folder / PICTURE_NAME)
    _logger.info(table(tally, source.name))
    judge.failures.report(source.corrupt_path, options.remove_corrupt)
    _logger.info(f"{source.paths.data}: {tally.num_kept:,} faces")
    return source.paths.data


def _title(name: str, options: CleaningOptions) -> str:
    """Name the data set in tables and pictures; a synthetic sample is called one."""
    is_sample = (Path(options.data_dir) / STATE_FILE).is_file()
    return f"{name} (synthetic sample)" if is_sample else name


def _with_progress(judge: "_Judge", source: _Source) -> Iterator[Face | Removed]:
    for record in tqdm(source.records, desc=f"cleaning {source.name}", unit="image"):
        yield judge(record)


@dataclass(slots=True)
class _Judge:
    """Judges one image after the other, and remembers what failed."""

    store: EmbeddingStore
    det_score: float
    is_adience: bool
    failures: Failures = field(default_factory=Failures)

    def __call__(self, record: Record) -> Face | Removed:
        """Give the face that stands for the image, or why it is removed."""
        if removed := missing_label(record):
            return removed
        try:
            faces = self.store.read(record.image_path)
            return judge_faces(
                faces,
                self.det_score,
                (lambda several: self.store.nearest_to_centre(record.image_path, several))
                if self.is_adience
                else None,
            )
        except MissingError:
            self.failures.num_missing += 1
        except UnusableError as error:
            self.failures.unusable.append(error)
        return Removed("failed_to_process_image")


def _refuse_nothing_stored(source: _Source, store: EmbeddingStore) -> None:
    """Stop before any work when there is nothing to work on.

    Raises:
        DataError: no image of the data set has embeddings.
    """
    paths = [record.image_path for record in source.records if missing_label(record) is None]
    if not paths:
        raise DataError(
            f"{source.folder}: none of the {len(source.records):,} images in the label files has "
            "an age and a gender"
        )
    if any(map(store.has, paths)):
        return
    resized = EmbeddingStore(source.folder, 1)
    if any(map(resized.has, paths)):
        raise DataError(
            f"{source.folder} holds embeddings of resized images only (*{RESIZED_SUFFIX}); clean "
            "with the resize that the extraction was called with, such as resize=640"
        )
    if not any((source.folder / path).is_file() for path in paths):
        raise DataError(
            f"{source.folder} holds none of the images that its label files name, such as "
            f"{paths[0]}; unpack the images there"
        )
    raise DataError(
        f"{source.folder} holds no embeddings yet; extract them first: "
        f'python3 -c "from utils.scripts import *; {source.extract_command}"'
    )


def _extractor(folder: Path, resize: int) -> dict[str, Any] | None:
    """Give the record of the extraction that the cleaning is about, if there is one.

    A folder can hold embeddings of both sorts, of resized images and of images sent as they are.
    """
    record = read_record(folder)
    if record is None or "resize" not in record:
        return record
    records = [record, *record.pop(OTHERS, [])]
    same_sort: list[dict[str, Any]] = [
        one for one in records if bool(one.get("resize")) == bool(resize)
    ]
    found = same_sort[0] if same_sort else record
    if (found.get("resize") or 0) != resize:
        _logger.warning(
            f"{folder / RECORD_NAME} says that the extraction was called with resize="
            f"{found.get('resize')}, the cleaning is with resize={resize}: the boxes of the faces "
            "may be in another frame"
        )
    return found
