"""Which data files the name of a data set means: the known ones, one's own, and sums of them."""

import os
from dataclasses import dataclass
from pathlib import Path

from utils.errors import DataError
from utils.paths import path_problem
from utils.text import cut, nearest, shown

CLEAN_COMMANDS = {
    "Adience": "get_Adience_clean('aligned', resize=640, det_score=0.9)",
    "imdb": "get_imdb_wiki_clean('imdb', resize=640, det_score=0.9)",
    "wiki": "get_imdb_wiki_clean('wiki', resize=640, det_score=0.9)",
}
DATASETS = {
    "adience": ("Adience",),
    "imdb": ("imdb",),
    "wiki": ("wiki",),
    "imdb_wiki": ("imdb", "wiki"),
    "imdb_wiki_adience": ("imdb", "wiki", "Adience"),
}
"""The known data sets, in small letters, and the parts of each."""

PLUS = "+"
DATA_NAME = "data.npy"
ADIENCE_FOLDER, ADIENCE_NAME = "Adience", "data-aligned.npy"
KNOWN_FOLDERS = frozenset({ADIENCE_FOLDER, "imdb_crop", "wiki_crop"})
MAX_LISTED = 20
"""Data sets that a message lists."""


@dataclass(frozen=True, slots=True)
class DataPart:
    """One data file of a data set.

    Attributes:
        name: 'Adience', 'imdb' or 'wiki', or the name or folder of a set of one's own.
        path: of the file.
    """

    name: str
    path: Path

    @property
    def is_known(self) -> bool:
        """Whether it is Adience, IMDB or WIKI, whose files hold a face's age and gender always."""
        return self.name in CLEAN_COMMANDS

    @property
    def meta_data(self) -> Path:
        """The counts beside the file, and how it was made."""
        name = self.path.name.replace("data", "meta-data", 1)
        return self.path.with_name(name).with_suffix(".json")

    @property
    def exists(self) -> bool:
        """Whether its file is there; False for a name that is too long for one."""
        return os.path.isfile(self.path)  # noqa: PTH113 - Path.is_file raises for long names

    @property
    def is_adience(self) -> bool:
        """Whether its faces have the five folds of Adience."""
        return self.name == ADIENCE_FOLDER


def data_path(data_dir: Path | str, source: str) -> Path:
    """Return the path of the data file of 'Adience', 'imdb' or 'wiki'."""
    if source == ADIENCE_FOLDER:
        return Path(data_dir) / ADIENCE_FOLDER / ADIENCE_NAME
    return Path(data_dir) / f"{source}_crop" / DATA_NAME


def dataset_problem(dataset: str) -> str | None:
    """Return why no data sets can have this name, whatever files there are; None if they can.

    >>> dataset_problem("imdb_wiki+utkface"), dataset_problem("utkface+")
    (None, "'' is no name of a data set, and no folder")
    >>> dataset_problem("imdb_wiki+IMDB")
    "'imdb' occurs twice"
    """
    pieces = dataset.split(PLUS)
    for piece in pieces:
        if not piece.strip(".") or (not _is_folder(piece) and "\\" in piece):
            return f"{shown(piece)} is no name of a data set, and no folder"
        if problem := path_problem(piece):
            return f"{shown(piece)} {problem}"
    names = [name for piece in pieces for name in DATASETS.get(piece.lower(), (piece,))]
    twice = next((name for name in names if names.count(name) > 1), None)
    return None if twice is None else f"{shown(twice)} occurs twice"


def has_known_name(dataset: str) -> bool:
    """Return whether a data set has one of the five known names, in any case.

    >>> has_known_name("IMDB_wiki"), has_known_name("imdb+wiki")
    (True, False)
    """
    return dataset.lower() in DATASETS


def same_data_set(one: str, other: str) -> bool:
    """Return whether two names are of the same data set.

    >>> same_data_set("Adience+mine", "adience+mine"), same_data_set("mine", "Mine")
    (True, False)
    """
    return _pieces(one) == _pieces(other)


def part_names(dataset: str) -> list[str]:
    """Return the names of the parts of a data set, in the order in which they are joined.

    >>> part_names("imdb_wiki+mine")
    ['imdb', 'wiki', 'mine']
    """
    return [name for piece in _pieces(dataset) for name in DATASETS.get(piece, (piece,))]


def parts_of(data_dir: Path | str, dataset: str) -> list[DataPart]:
    """Return the parts of a data set, in the order in which they are joined.

    Args:
        data_dir: folder that holds `Adience/`, `imdb_crop/`, `wiki_crop/`, and a folder for each
            set of one's own.
        dataset: a known name in any case, the name of a set of one's own, the folder of one (with a
            slash, such as "./faces" or "/mnt/faces"), or several of them with "+" in between.

    Raises:
        DataError: no data set can have this name, or a file occurs twice.
    """
    if problem := dataset_problem(dataset):
        raise DataError(f"dataset {shown(dataset)}: {problem}")
    parts = [DataPart(name, _path_of(data_dir, name)) for name in part_names(dataset)]
    files = [part.path.resolve() for part in parts]
    for at, file in enumerate(files):
        if file in files[:at]:
            raise DataError(f"dataset {shown(dataset)}: {parts[at].path} occurs twice")
    return parts


def no_such_file(data_dir: Path | str, part: DataPart) -> DataError:
    """Make the error that says how to get the missing file of a part."""
    if part.is_known:
        return DataError(
            f"{part.path}: no such data file. Make it with: python3 -c "
            f'"from utils.scripts import *; '
            f'{with_data_dir(CLEAN_COMMANDS[part.name], data_dir)}", or '
            "take a sample with make_sample_data('data/sample') and --data_dir data/sample"
        )
    own = [cut(shown(name)[1:-1], 40) for name in own_sets(data_dir)]
    likely = nearest(part.name, (*DATASETS, *own))
    likely = likely if likely.startswith("did") else _listed(data_dir, own)
    is_there = os.path.isdir(part.path.parent)  # noqa: PTH112 - Path.is_dir raises for long names
    example = part.path.parent.name if is_there else "faces"
    table = repr(f"{cut(example, 40)}.csv")
    clean = with_data_dir(f"get_faces_clean({table}, det_score=0.7)", data_dir)
    stop = "" if likely.endswith("?") else "."
    return DataError(
        f"unknown dataset {shown(part.name)}, {likely}{stop} There is no {shown(str(part.path))}; "
        f'clean a table of your own with: python3 -c "from utils.scripts import *; {clean}"'
    )


def own_sets(data_dir: Path | str) -> list[str]:
    """List the cleaned sets of one's own in a data folder, by name."""
    try:
        folders = [entry.name for entry in os.scandir(data_dir) if entry.is_dir()]
    except OSError:
        return []
    return sorted(
        name
        for name in folders
        if name not in KNOWN_FOLDERS and (Path(data_dir) / name / DATA_NAME).is_file()
    )


def with_data_dir(command: str, data_dir: Path | str) -> str:
    """Add the data folder to a suggested command, if it is not the default.

    >>> with_data_dir("get_imdb_wiki_clean('wiki')", "/mnt/faces")
    "get_imdb_wiki_clean('wiki', data_dir='/mnt/faces')"
    """
    is_default = Path(data_dir) == Path("data")
    return command if is_default else f"{command[:-1]}, data_dir={str(data_dir)!r})"


def _pieces(dataset: str) -> list[str]:
    return [piece.lower() if piece.lower() in DATASETS else piece for piece in dataset.split(PLUS)]


def _is_folder(name: str) -> bool:
    return "/" in name or name.startswith("~")


def _path_of(data_dir: Path | str, name: str) -> Path:
    if name in CLEAN_COMMANDS:
        return data_path(data_dir, name)
    if not _is_folder(name):
        return Path(data_dir) / name / DATA_NAME
    folder = Path(name).expanduser()
    is_adience = not os.path.isfile(folder / DATA_NAME) and os.path.isfile(folder / ADIENCE_NAME)  # noqa: PTH113 - False for a name that is too long
    return folder / (ADIENCE_NAME if is_adience else DATA_NAME)


def _listed(data_dir: Path | str, own: list[str]) -> str:
    known = f"known are {', '.join(DATASETS)}"
    more = f" and {len(own) - MAX_LISTED} more" if len(own) > MAX_LISTED else ""
    names = ", ".join(own[:MAX_LISTED]) or "none of your own"
    return f"{known}, and in {data_dir} {names}{more}"
