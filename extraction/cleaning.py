"""Cleaning: from labels and stored answers of the face server to the data file of a data set.

The labels are read by `labelled_sets`, the answers by `stored_answers`; `cleaning_rules`
say which faces stay, `data_file` writes them, and `cleaning_report` tells what came of it.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from data_loader.data_sets import with_data_dir
from extraction.cleaning_report import plot_ages, report_unusable, table
from extraction.cleaning_rules import (
    CleaningCounts,
    KeptFace,
    RemovalCause,
    choose_face,
    missing_label,
)
from extraction.data_file import NothingLeftError, write_data_file
from extraction.extractor import (
    EXTRACTOR_NAME,
    choose_extractor,
    extractors_of_kind,
    read_extractors,
)
from extraction.image_labels import ImageLabels, LabelColumns
from extraction.labelled_sets import LabelledSet, adience_set, imdb_wiki_set, table_set
from extraction.options import CleaningOptions, TableOptions
from extraction.stored_answers import (
    AS_IT_WAS_SUFFIX,
    RESIZED_SUFFIX,
    MissingError,
    StoredAnswers,
    UnusableError,
)
from utils.errors import DataError
from utils.figures import optional_picture
from utils.files import refuse_unwritable
from utils.locks import only_one, remove_leftovers
from utils.log import get_logger

SAMPLE_MARK = "sample.json"
"""The file that tells a synthetic sample from a download."""

_logger = get_logger("cleaning")


def clean_adience(image_type: str, options: CleaningOptions) -> Path:
    """Clean Adience's 'aligned' or 'raw' images and return the path of the data file.

    Raises:
        DataError: unknown image type, missing or foreign label files, no images, no embeddings,
            another resize than that of the extraction, another cleaning at work, no image left,
            no space left.
    """
    return _clean(adience_set(image_type, options.data_dir), options)


def clean_imdb_wiki(name: str, options: CleaningOptions) -> Path:
    """Clean 'imdb' or 'wiki' and return the path of the data file; raises as `clean_adience`."""
    return _clean(imdb_wiki_set(name, options.data_dir), options)


def clean_table(table: Path, options: CleaningOptions, table_options: TableOptions) -> Path:
    """Clean the images that a table names and return the path of the data file.

    Raises:
        PathError: the name of the data set is taken, or its folder cannot be written.
        DataError: the table is unfit; else as `clean_adience`.
    """
    return _clean(table_set(table, options.data_dir, table_options), options)


def _clean(dataset: LabelledSet, options: CleaningOptions) -> Path:
    files, resize = dataset.files, options.resize or 0
    extractors = read_extractors(files.folder)
    extractor = choose_extractor(extractors, files.folder, resize)
    falls_back = dataset.table is None and not extractors_of_kind(extractors, 0)
    answers = StoredAnswers(dataset.places, resize, falls_back)
    _refuse_no_answers(dataset, answers, options)
    refuse_unwritable(files.folder)
    dataset.claim_folder()
    made_with: dict[str, Any] = {"det_score": float(options.det_score), "resize": resize}
    made_with |= dataset.table_counts()
    if extractor is not None:
        made_with["extractor"] = extractor
    busy = f"{files.folder}: another cleaning is at work there; wait for its end, or stop it"
    with only_one(dataset.label_file, DataError(busy)):  # extractions may go on
        remove_leftovers(files.folder)
        judge = _Judge(answers, options.det_score, files.is_adience, dataset.columns)
        counts = _write(dataset, judge, options, made_with)
    _logger.info(f"{files.data}: {counts.num_kept:,} faces")
    return files.data


def _write(
    dataset: LabelledSet, judge: "_Judge", options: CleaningOptions, made_with: dict[str, Any]
) -> CleaningCounts:
    """Write all files; the lists of what failed also when no image is left."""
    files, title = dataset.files, dataset.title
    if (Path(options.data_dir) / SAMPLE_MARK).is_file():
        title = f"{title} (synthetic sample)"
    outcomes = map(judge, tqdm(dataset.images, desc=f"cleaning {title}", unit="image"))
    try:
        counts = write_data_file(files, dataset.images, outcomes, made_with, dataset.columns)
    except NothingLeftError:
        judge.report(files.unusable_answers, options.remove_corrupt)
        raise
    _logger.info(table(counts, title))
    if counts.remark:
        _logger.warning(counts.remark)
    judge.report(files.unusable_answers, options.remove_corrupt)
    if not counts.ages():
        files.age_picture.unlink(missing_ok=True)
        return counts
    with optional_picture(files.age_picture):
        plot_ages(counts, f"{title}: ages of the faces kept", files.age_picture)
    return counts


@dataclass(slots=True)
class _Judge:
    """Judges one image after the other by its answer, and remembers the answers of no use."""

    answers: StoredAnswers
    det_score: float
    is_adience: bool
    columns: LabelColumns
    num_unanswered: int = 0
    unusable: list[UnusableError] = field(default_factory=list)

    def __call__(self, image: ImageLabels) -> KeptFace | RemovalCause:
        """Return the face that stands for an image, or why it is removed."""
        if cause := missing_label(image, self.columns):
            return cause
        nearest = functools.partial(self.answers.nearest_to_centre, image.image_path)
        try:
            faces = self.answers.read(image.image_path)
            if faces and image.box is not None:
                faces = self.answers.in_box(image.image_path, faces, image.box)
            return choose_face(faces, self.det_score, nearest if self.is_adience else None)
        except MissingError:
            self.num_unanswered += 1
        except UnusableError as error:
            self.unusable.append(error)
        return RemovalCause.FAILED

    def report(self, unusable_path: Path, remove_corrupt: bool) -> None:
        """Log which answers were missing, of the original project's names, or of no use."""
        if self.answers.num_fallbacks:
            _logger.warning(
                f"{self.answers.num_fallbacks:,} images have no {RESIZED_SUFFIX} file: their "
                f"{AS_IT_WAS_SUFFIX} file counts, as the original project writes it, taken to be "
                f"of images resized to {self.answers.resize}"
            )
        if self.num_unanswered:
            _logger.info(
                f"{self.num_unanswered:,} images have no file of embeddings, not counting those "
                "without the labels they need: they are missing, or sending them failed, or the "
                "extraction is not done; extract again to try them"
            )
        report_unusable(self.unusable, unusable_path, remove_corrupt)


def _refuse_no_answers(
    dataset: LabelledSet, answers: StoredAnswers, options: CleaningOptions
) -> None:
    """Stop before any work when there is nothing to work on.

    Raises:
        DataError: no image of the data set has labels and embeddings of the kind asked for.
    """
    folder = dataset.files.folder
    paths = [image.image_path for image in dataset.images if dataset.columns.suffice(image)]
    if not paths:
        joined = "or" if dataset.columns.one_suffices else "and"
        raise DataError(
            f"{folder}: none of the {len(dataset.images):,} images in the label files has "
            f"an age {joined} a gender"
        )
    if any(map(answers.has, paths)):
        return
    if any(map(StoredAnswers(dataset.places, 0 if answers.resize else 1).has, paths)):
        raise DataError(
            f"{folder} holds embeddings of images sent as they are only, says "
            f"{EXTRACTOR_NAME}; clean with resize=0"
            if answers.resize
            else f"{folder} holds embeddings of resized images only (*{RESIZED_SUFFIX}); clean "
            "with the resize that the extraction was called with, such as resize=640"
        )
    if not any(dataset.places.image(path).is_file() for path in paths):
        raise DataError(
            f"{dataset.places.image_dir} holds none of the images that its label files name, "
            f"such as {paths[0]}; unpack the images there"
        )
    command = dataset.extract_command.replace("{resize}", str(options.resize))
    command = with_data_dir(command, options.data_dir)
    raise DataError(
        f"{folder} holds no embeddings yet; extract them first: "
        f'python3 -c "from utils.scripts import *; {command}"'
    )
