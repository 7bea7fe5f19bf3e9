"""Data sets to extract and to clean: the three known ones, and tables of one's own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_loader.data_sets import DATASETS, KNOWN_FOLDERS
from extraction import adience, imdb_wiki
from extraction.data_file import DataFiles, writing
from extraction.extraction_report import write_reasons
from extraction.image_labels import ALL_LABELS, ImageLabels, LabelColumns
from extraction.options import TableOptions
from extraction.places import Places
from extraction.table import FaceTable, read_table
from extraction.table_cells import SPLITS, gender_meanings
from extraction.table_header import SPLIT
from utils.errors import DataError, PathError
from utils.files import read_json, refuse_unwritable, write_json
from utils.labels import NO_FOLD
from utils.log import get_logger
from utils.text import shown

TABLE_NAME = "table.json"
"""The file that tells of which table a folder is."""

PROBLEMS_NAME = "table-problems.csv"
TAKEN_NAMES = frozenset({*DATASETS, *KNOWN_FOLDERS})

_logger = get_logger("table")


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """A data set to extract and to clean.

    Attributes:
        title: what reports call it.
        files: that a cleaning writes.
        images: with their labels.
        label_file: whose lock a cleaning holds.
        extract_command: how to extract it.
        columns: which labels its images need, and their other columns.
        table: of one's own; None for a known data set.
    """

    title: str
    files: DataFiles
    images: Sequence[ImageLabels]
    label_file: Path
    extract_command: str
    columns: LabelColumns = ALL_LABELS
    table: FaceTable | None = None

    @property
    def places(self) -> Places:
        """Where images and answers lie."""
        return Places(self.files.folder, self.table.path.parent if self.table else None)

    def claim_folder(self) -> None:
        """Log and list what is wrong with the table, and note whose folder this is.

        Raises:
            PathError: the folder cannot be written.
            DataError: the disk is full.
        """
        if self.table is None:
            return
        folder = self.files.folder
        refuse_unwritable(folder)
        folder.mkdir(parents=True, exist_ok=True)
        rows = ((str(at), one.cause) for one in self.table.problems for at in one.lines)
        with writing(folder / PROBLEMS_NAME):
            write_json(_owner(self.table.path), folder / TABLE_NAME)
            write_reasons(rows, folder / PROBLEMS_NAME, ("line", "cause"))
        for line in self.table.report():
            _logger.warning(line)
        if self.table.problems:
            _logger.warning(f"{folder / PROBLEMS_NAME} lists all of them")
        if num_outside := self.num_outside():
            _logger.info(
                f"{num_outside:,} of {len(self.images):,} images lie outside the table's folder"
            )

    def num_outside(self) -> int:
        """Count the images outside the folder of the table."""
        return sum(image.image_path.startswith("/") for image in self.images)

    def table_counts(self) -> dict[str, Any]:
        """Return what the meta data say of the table; nothing for a known data set."""
        if self.table is None:
            return {}
        counts: dict[str, Any] = {
            "file": self.table.path.name,
            "rows": self.table.num_rows,
            "problems": self.table.causes(),
            "outside": self.num_outside(),
        }
        folds = Counter(image.fold for image in self.images)
        if folds.keys() - {NO_FOLD}:
            counts["folds"] = [folds[fold] for fold in range(max(folds) + 1)]
        if SPLIT in self.columns.kept:
            at = self.columns.kept.index(SPLIT)
            splits = Counter(image.kept[at] for image in self.images)
            counts["splits"] = {split: splits[split] for split in dict.fromkeys(SPLITS.values())}
        return {"table": counts}


def adience_set(image_type: str, data_dir: Path | str) -> LabelledSet:
    """Read the labels of Adience's 'aligned' or 'raw' images; raises as `adience.read_labels`."""
    folder = Path(data_dir) / "Adience"
    return LabelledSet(
        f"Adience, {image_type} images",
        DataFiles(folder, image_type),
        adience.read_labels(folder, image_type),
        folder / "fold_0_data.txt",
        f"extract_Adience_arcface({image_type!r}, resize={{resize}})",
    )


def imdb_wiki_set(name: str, data_dir: Path | str) -> LabelledSet:
    """Read the labels of 'imdb' or 'wiki'; raises as `imdb_wiki.read_labels`."""
    folder = Path(data_dir) / f"{name}_crop"
    return LabelledSet(
        name.upper(),
        DataFiles(folder),
        imdb_wiki.read_labels(folder, name),
        folder / f"{name}.mat",
        f"extract_imdb_wiki_arcface({name!r}, resize={{resize}})",
    )


def table_set(path: Path, data_dir: Path | str, options: TableOptions) -> LabelledSet:
    """Read a table of one's own; its data set has the name of the file, if not another.

    Raises:
        DataError: the table is unfit, or the folder is that of images elsewhere.
        PathError: the name is taken or can be none.
    """
    name = _checked_name(path.stem if options.name is None else options.name)
    folder = Path(data_dir) / name
    _refuse_other_owner(folder, path)
    table = read_table(path.absolute(), gender_meanings(options.genders))
    named = "" if options.name is None else f", name={name!r}"
    return LabelledSet(
        title=name,
        files=DataFiles(folder),
        images=table.images,
        label_file=folder / TABLE_NAME,
        extract_command=f"extract_faces({str(path)!r}, resize={{resize}}{named})",
        columns=LabelColumns(one_suffices=True, kept=table.kept_columns),
        table=table,
    )


def _checked_name(name: str) -> str:
    if name.lower() in {taken.lower() for taken in TAKEN_NAMES}:
        raise PathError(f"{name!r} is the name of a known data set; choose another with name=")
    if not name.strip(".") or {*"+/\\"} & {*name}:
        raise PathError(
            f"{shown(name)} can be no name of a data set (no +, / or \\); choose one with name="
        )
    return name


def _owner(table: Path) -> dict[str, str]:
    return {"table": table.name, "image_dir": str(table.absolute().parent)}


def _refuse_other_owner(folder: Path, table: Path) -> None:
    """Refuse a folder whose answers are of images that are relative to another folder.

    Raises:
        DataError: it is.
    """
    path = folder / TABLE_NAME
    if not path.is_file():
        return
    content = read_json(path)
    before = content.get("image_dir") if isinstance(content, dict) else None
    now = _owner(table)["image_dir"]
    if before != now:
        raise DataError(
            f"{folder} is of the images in {shown(before)}, those of {table.name} lie in {now}; "
            f"choose another name with name=, or, if they were moved, correct {path}"
        )
