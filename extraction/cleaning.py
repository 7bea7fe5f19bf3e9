"""From the stored answers of the face server to the data files that training reads.

`clean_adience` and `clean_imdb_wiki` read the labels, judge every image by the rules of
`extraction.cleaned`, and write data file, counts, a picture of the ages, and a list of the files
that could not be used.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from data_loader.faces import with_data_dir
from extraction import adience, imdb_wiki
from extraction.cleaned import (
    DET_SCORE,
    Face,
    Record,
    Removed,
    Tally,
    judge_faces,
    missing_label,
)
from extraction.cleaned_files import (
    CleanedPaths,
    NothingLeftError,
    Settings,
    cleaned_paths,
    write_cleaned,
)
from extraction.cleaning_lock import only_cleaning
from extraction.embeddings import (
    AS_IT_WAS_SUFFIX,
    RESIZED_SUFFIX,
    EmbeddingStore,
    MissingError,
    UnusableError,
)
from extraction.failures import Failures
from extraction.sorts import choose_extraction, extractions_of, of_sort, refuse_nothing_stored
from extraction.stats import plot_ages, table
from utils.errors import DataError
from utils.figures import optional_picture
from utils.files import refuse_unwritable
from utils.locks import remove_leftovers
from utils.log import get_logger

SAMPLE_MARK = "sample.json"
"""The file that tells a synthetic sample from a download."""

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
    label_file: Path
    extract_command: str

    @property
    def paths(self) -> CleanedPaths:
        return cleaned_paths(self.folder, self.image_type)

    @property
    def corrupt_path(self) -> Path:
        return self.folder / f"corrupt{self._ending}.csv"

    @property
    def picture_path(self) -> Path:
        return self.folder / f"ages{self._ending}.png"

    @property
    def _ending(self) -> str:
        return "" if self.image_type is None else f"-{self.image_type}"


def clean_adience(image_type: str, options: CleaningOptions) -> Path:
    """Clean Adience's 'aligned' or 'raw' images and return the path of the data file.

    Raises:
        DataError: unknown image type, missing or foreign label files, no images, no embeddings,
            another resize than that of the extraction, another cleaning at work, no image left,
            no space left.
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
            label_file=folder / "fold_0_data.txt",
            extract_command=with_data_dir(
                f"extract_Adience_arcface({image_type!r}, resize={options.resize})",
                options.data_dir,
            ),
        ),
        options,
    )


def clean_imdb_wiki(dataset: str, options: CleaningOptions) -> Path:
    """Clean 'imdb' or 'wiki' and return the path of the data file.

    Raises:
        DataError: unknown data set, a missing or foreign .mat file, no images, no embeddings,
            another resize than that of the extraction, another cleaning at work, no image left,
            no space left.
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
            label_file=folder / f"{dataset}.mat",
            extract_command=with_data_dir(
                f"extract_imdb_wiki_arcface({dataset!r}, resize={options.resize})",
                options.data_dir,
            ),
        ),
        options,
    )


def _clean(source: _Source, options: CleaningOptions) -> Path:
    is_adience = source.image_type is not None
    resize, det_score = options.resize or 0, float(options.det_score)
    extractions = extractions_of(source.folder)
    extractor = choose_extraction(extractions, source.folder, resize)
    store = EmbeddingStore(source.folder, resize, falls_back=not of_sort(extractions, 0))
    refuse_nothing_stored(source.records, store, source.extract_command)
    settings = Settings(is_adience, det_score, resize, extractor)
    judge = _Judge(store, det_score, is_adience)
    refuse_unwritable(source.folder)
    with only_cleaning(source.label_file):
        remove_leftovers(source.folder)
        tally = _write(source, settings, judge, options.remove_corrupt)
    _logger.info(f"{source.paths.data}: {tally.num_kept:,} faces")
    return source.paths.data


def _write(source: _Source, settings: Settings, judge: "_Judge", remove_corrupt: bool) -> Tally:
    try:
        outcomes = _with_progress(judge, source)
        tally = write_cleaned(source.records, outcomes, settings, source.paths)
    except NothingLeftError:
        judge.report(source.corrupt_path, remove_corrupt)
        raise
    _logger.info(table(tally, source.name))
    judge.report(source.corrupt_path, remove_corrupt)
    with optional_picture(source.picture_path):
        plot_ages(tally, f"{source.name}: ages of the faces kept", source.picture_path)
    return tally


def _title(name: str, options: CleaningOptions) -> str:
    """Name the data set in tables and pictures; a synthetic sample is called one."""
    is_sample = (Path(options.data_dir) / SAMPLE_MARK).is_file()
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

    def report(self, corrupt_path: Path, remove_corrupt: bool) -> None:
        """Tell what failed, and how many answers are from files of the original's name."""
        if self.store.num_fallbacks:
            _logger.warning(
                f"{self.store.num_fallbacks:,} images have no {RESIZED_SUFFIX} file: their "
                f"{AS_IT_WAS_SUFFIX} file counts, as the original project writes it, taken to be "
                f"of images resized to {self.store.resize}"
            )
        self.failures.report(corrupt_path, remove_corrupt)
