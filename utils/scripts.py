"""The commands that users call by name: python3 -c "from utils.scripts import ...; ...".

A script, at the top of the layers: it may import everything, and does so late, so that a command
loads only what it needs.
"""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from utils.cli import run
from utils.log import get_logger, log_to_console
from utils.paths import user_path

if TYPE_CHECKING:
    from extraction.extraction_report import ExtractionCounts
    from utils.problems import JsonObject

P = ParamSpec("P")
T = TypeVar("T")
Checked = TypeVar("Checked", bound="JsonObject")


def command(function: Callable[P, T]) -> Callable[P, T]:
    """Print errors that a user can mend as one line and exit, when called from `python3 -c`.

    Called from another program, a test or a notebook, the function raises its exceptions.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> T:
        if sys.argv[:1] != ["-c"]:
            log_to_console()
            return function(*args, **kwargs)
        results: list[T] = []
        run(lambda: results.append(function(*args, **kwargs)))
        return results[0]

    return called


def _options(model: type[Checked], data_dir: Path | str, /, **arguments: Any) -> Checked:
    from utils.problems import read_object

    arguments["data_dir"] = user_path(data_dir, "data_dir")
    return read_object(model, arguments, "arguments")


@command
def make_sample_data(out_dir: Path | str = "data/sample") -> None:
    """Write a small synthetic stand-in for Adience, IMDB and WIKI, in the layout of the downloads.

    Takes some seconds; a folder that is complete is left as it is. See README.txt in the folder.
    """
    from sample import make as sample

    sample.make_sample_data(user_path(out_dir, "out_dir"))


@command
def export_model(checkpoint: Path | str, out_path: Path | str) -> None:
    """Write a checkpoint's network for use: weights and config, without optimizer and random state.

    Args:
        checkpoint: a checkpoint of ours or of the original project, or an ensemble.
        out_path: file to write, whose suffix says in which format: models/age.pth,
            models/age.safetensors, or models/age.onnx for other programs.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or foreign.
        PathError: a path is none, or `out_path` cannot be written, or has another suffix.
        UserError: a package that writes the format is missing.
    """
    from serving.export import write_model

    checkpoint, out_path = user_path(checkpoint, "checkpoint"), user_path(out_path, "out_path")
    write_model(checkpoint, out_path)
    size = out_path.stat().st_size / 2**20
    get_logger("export").info(f"{out_path}: {size:.1f} MiB, from {checkpoint}")


@command
def get_models(
    name: str = "original", out_dir: Path | str = "models", url: str | None = None
) -> dict[str, Path]:
    """Download published models, and print their model card: terms, needs, scores, what to start.

    A second call goes on where the first broke off. Files of other models are not replaced.

    Args:
        name: of the models, in `serving/registry.json`.
        out_dir: folder that gets age.pth, gender.pth and MODEL_CARD.md.
        url: of a folder that has the files, such as a mirror of yours; None takes the variable
            DOWNLOAD_MIRROR, or where they are published.

    Returns:
        the files, by "age" and "gender".

    Raises:
        UserError: there are no such models, or they cannot be had, written or opened.
    """
    from serving.published import fetch_published

    return fetch_published(name, user_path(out_dir, "out_dir"), url)


@command
def make_ensemble(
    checkpoints: Path | str | Sequence[Path | str],
    out_path: Path | str = "models/age.pth",
    data_dir: Path | str | None = None,
) -> int:
    """Write several models of one task as one file for the server, which averages them.

    Args:
        checkpoints: files of models, or the results file of a cross-validation, which stands for
            all its models.
        out_path: file to write, as in `export_model`.
        data_dir: folder of the data set that all were trained on. Intervals and sets are fitted to
            people in it whom some of the models were not trained on; None leaves them out.

    Returns:
        the number of models.

    Raises:
        CheckpointError: a checkpoint is missing or unfit, or they do not go together.
        PathError, UserError: as in `export_model`.
    """
    from serving.export import write_ensemble

    given = [checkpoints] if isinstance(checkpoints, Path | str) else list(checkpoints)
    sources = [user_path(source, "checkpoints") for source in given]
    out_path = user_path(out_path, "out_path")
    fit = None
    if data_dir is not None:
        from trainer.ensemble_confidence import fit_ensemble_confidence

        folder = user_path(data_dir, "data_dir")
        fit = functools.partial(fit_ensemble_confidence, data_dir=folder)
    num_models = write_ensemble(sources, out_path, fit)
    size = out_path.stat().st_size / 2**20
    get_logger("export").info(f"{out_path}: {num_models} models, {size:.1f} MiB")
    return num_models


@command
def extract_Adience_arcface(
    image_type: str,
    docker_port: int | str | Sequence[int | str] = 10002,
    cuda: bool = False,
    resize: int | None = 640,
    data_dir: Path | str = "data",
    **more: Any,
) -> "ExtractionCounts":
    """Send the images of Adience to the face server and store its answers beside them.

    A second call sends only what has no answer yet.

    Args:
        image_type: 'aligned' or 'raw'.
        docker_port: port of the face server on this machine, or its URL; several share the work.
            When none answers, its container is started, and stopped at the end.
        cuda: start the container that runs on GPUs.
        resize: side in pixels of the square that is sent; None or 0 sends the files as they are.
        data_dir: folder that holds `Adience`.
        more: docker_image, in_flight, workers, jpeg_quality, timeout_s, give_up_s,
            start_timeout_s: see `extraction.options.ExtractionOptions`.

    Returns:
        the counts that are printed.

    Raises:
        UserError: an argument, a label file or the server is wrong or missing, or no answer could
            be stored.
    """
    from extraction.extract import extract_adience
    from extraction.options import ExtractionOptions

    options = _options(
        ExtractionOptions, data_dir, docker_port=docker_port, cuda=cuda, resize=resize, **more
    )
    return extract_adience(image_type, options)


@command
def extract_imdb_wiki_arcface(
    dataset: str,
    docker_port: int | str | Sequence[int | str] = 10002,
    cuda: bool = False,
    resize: int | None = 640,
    data_dir: Path | str = "data",
    **more: Any,
) -> "ExtractionCounts":
    """Send the images of IMDB or WIKI to the face server and store its answers beside them.

    Args:
        dataset: 'imdb' or 'wiki'.
        docker_port: as for `extract_Adience_arcface`, like all that follows.
        cuda: start the container that runs on GPUs.
        resize: side in pixels of the square that is sent; None or 0 sends the files as they are.
        data_dir: folder that holds `imdb_crop` and `wiki_crop`.
        more: see `extract_Adience_arcface`.

    Returns:
        the counts that are printed.

    Raises:
        UserError: an argument, the .mat file or the server is wrong or missing, or no answer could
            be stored.
    """
    from extraction.extract import extract_imdb_wiki
    from extraction.options import ExtractionOptions

    options = _options(
        ExtractionOptions, data_dir, docker_port=docker_port, cuda=cuda, resize=resize, **more
    )
    return extract_imdb_wiki(dataset, options)


@command
def get_Adience_clean(
    image_type: str,
    resize: int | None = 640,
    det_score: float = 0.9,
    data_dir: Path | str = "data",
    remove_corrupt: bool = False,
) -> Path:
    """Write the data file of Adience from its label files and the extracted embeddings.

    Args:
        image_type: 'aligned' or 'raw'.
        resize: what the extraction was called with; None or 0 for images sent as they are.
        det_score: lowest score of the face detector that is good enough.
        data_dir: folder that holds `Adience`.
        remove_corrupt: delete corrupt embeddings files, so that the next extraction makes them.

    Returns:
        the data file, `Adience/data-<image_type>.npy`.

    Raises:
        UserError: an argument, a label file or the embeddings are wrong or missing.
    """
    from extraction.cleaning import clean_adience
    from extraction.options import CleaningOptions

    options = _options(
        CleaningOptions, data_dir, resize=resize, det_score=det_score, remove_corrupt=remove_corrupt
    )
    return clean_adience(image_type, options)


@command
def get_imdb_wiki_clean(
    dataset: str,
    resize: int | None = 640,
    det_score: float = 0.9,
    data_dir: Path | str = "data",
    remove_corrupt: bool = False,
) -> Path:
    """Write the data file of IMDB or WIKI from its .mat file and the extracted embeddings.

    Args:
        dataset: 'imdb' or 'wiki'.
        resize: what the extraction was called with; None or 0 for images sent as they are.
        det_score: lowest score of the face detector that is good enough.
        data_dir: folder that holds `imdb_crop` and `wiki_crop`.
        remove_corrupt: delete corrupt embeddings files, so that the next extraction makes them.

    Returns:
        the data file, `<dataset>_crop/data.npy`.

    Raises:
        UserError: an argument, the .mat file or the embeddings are wrong or missing.
    """
    from extraction.cleaning import clean_imdb_wiki
    from extraction.options import CleaningOptions

    options = _options(
        CleaningOptions, data_dir, resize=resize, det_score=det_score, remove_corrupt=remove_corrupt
    )
    return clean_imdb_wiki(dataset, options)


@command
def make_table(layout: str, folder: Path | str, out_path: Path | str | None = None) -> Path:
    """Write the table of a data set as people download it, for `extract_faces`.

    Args:
        layout: 'utkface', 'fairface', 'agedb', 'cacd' or 'lagenda'; see docs/data.md.
        folder: that the download was unpacked to.
        out_path: of the table; None for `<layout>.csv` in the folder.

    Returns:
        the path of the table.

    Raises:
        UserError: the layout is unknown, the folder holds something else, or the table cannot be
            written.
    """
    from extraction import layouts

    chosen = None if out_path is None else user_path(out_path, "out_path")
    return layouts.make_table(layout, user_path(folder, "folder"), chosen)


@command
def extract_faces(
    table: Path | str,
    docker_port: int | str | Sequence[int | str] = 10002,
    cuda: bool = False,
    resize: int | None = 640,
    data_dir: Path | str = "data",
    name: str | None = None,
    **more: Any,
) -> "ExtractionCounts":
    """Send the images that a table names to the face server and store its answers.

    The answers go into the folder of the data set, so that those of the images are only read.

    Args:
        table: CSV, TSV or Parquet with the column `path`; see docs/data.md.
        docker_port: as for `extract_Adience_arcface`, like all that follows.
        cuda: start the container that runs on GPUs.
        resize: side in pixels of the square that is sent; None or 0 sends the files as they are.
        data_dir: folder that gets the folder of the data set.
        name: of the data set and its folder; None for the name of the table's file.
        more: see `extract_Adience_arcface`.

    Returns:
        the counts that are printed.

    Raises:
        UserError: an argument, the table or the server is wrong or missing, or no answer could be
            stored.
    """
    from extraction.extract import extract_table
    from extraction.options import ExtractionOptions, TableOptions
    from utils.problems import read_object

    options = _options(
        ExtractionOptions, data_dir, docker_port=docker_port, cuda=cuda, resize=resize, **more
    )
    table_options = read_object(TableOptions, {"name": name}, "arguments")
    return extract_table(user_path(table, "table"), options, table_options)


@command
def get_faces_clean(
    table: Path | str,
    resize: int | None = 640,
    det_score: float = 0.9,
    data_dir: Path | str = "data",
    name: str | None = None,
    genders: Mapping[int | str, str] | None = None,
    remove_corrupt: bool = False,
) -> Path:
    """Write the data file of a table of images from its labels and the extracted embeddings.

    Args:
        table: CSV, TSV or Parquet with the columns `path`, `age` and `gender`; see docs/data.md.
        resize: what the extraction was called with; None or 0 for images sent as they are.
        det_score: lowest score of the face detector that is good enough.
        data_dir: folder that holds the folder of the data set.
        name: of the data set and its folder; None for the name of the table's file.
        genders: 'm' or 'f' for each gender that is no word, such as {0: 'm', 1: 'f'}.
        remove_corrupt: delete corrupt embeddings files, so that the next extraction makes them.

    Returns:
        the data file, `<name>/data.npy`.

    Raises:
        UserError: an argument, the table or the embeddings are wrong or missing.
    """
    from extraction.cleaning import clean_table
    from extraction.options import CleaningOptions, TableOptions
    from utils.problems import read_object

    options = _options(
        CleaningOptions, data_dir, resize=resize, det_score=det_score, remove_corrupt=remove_corrupt
    )
    chosen = {"name": name, "genders": dict(genders or {})}
    table_options = read_object(TableOptions, chosen, "arguments")
    return clean_table(user_path(table, "table"), options, table_options)


@command
def convert_original_data(dataset: str, data_dir: Path | str = "data") -> list[Path]:
    """Rewrite the original project's data files in our format; the old ones stay beside them.

    Args:
        dataset: 'imdb', 'wiki' or 'Adience'.
        data_dir: folder that holds `Adience`, `imdb_crop` and `wiki_crop`.

    Returns:
        the data files that were rewritten; none where all are in our format already.

    Raises:
        DataError: there is no such file, or it is damaged or foreign.
    """
    from extraction.convert import convert

    return convert(dataset, user_path(data_dir, "data_dir"))
