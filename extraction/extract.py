"""Extraction: sends the images of a data set to face servers and stores the answers beside them."""

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from tqdm import tqdm

from base.interrupt import StopRequest
from extraction import adience
from extraction.extraction_report import ExtractionCounts, write_reasons
from extraction.extractor import (
    Extractor,
    extractor_of_done,
    new_extractor,
    read_extractors,
    update_extractor,
)
from extraction.image_labels import ImageLabels
from extraction.inventory import Inventory, only_extraction, take_inventory
from extraction.labelled_sets import LabelledSet, adience_set, imdb_wiki_set, table_set
from extraction.options import ExtractionOptions, TableOptions
from extraction.pipeline import Pipeline, request_for
from extraction.places import Places
from extraction.pool import ServerPool
from extraction.same_network import ReferenceImage
from extraction.servers import ReadyServers, face_servers, ready_servers
from extraction.stored_answers import MissingError, StoredAnswers, UnusableError
from faces.errors import ImageError
from faces.squares import DEFAULT_RESIZE
from utils.cli import Interrupted
from utils.errors import DataError
from utils.files import refuse_unwritable
from utils.locks import remove_leftovers
from utils.log import get_logger

FAILED_NAME = "failed.csv"
MISSING_FILE = "no such file"
UNREADABLE = "cannot be read"
REMEDY = "unpack the download there"
TABLE_REMEDY = "paths are relative to the folder of the table; correct its column path"

logger = get_logger("extraction")


def extract_adience(image_type: str, options: ExtractionOptions) -> ExtractionCounts:
    """Extract the embeddings of Adience's 'aligned' or 'raw' images; see `extract`."""
    dataset = adience_set(image_type, options.data_dir)
    (other,) = set(adience.IMAGE_PATHS) - {image_type}
    related_paths = _paths(adience.read_labels(dataset.files.folder, other))
    return _extract_set(dataset, options, related_paths)


def extract_imdb_wiki(dataset: str, options: ExtractionOptions) -> ExtractionCounts:
    """Extract the embeddings of the images of 'imdb' or 'wiki'; see `extract`."""
    return _extract_set(imdb_wiki_set(dataset, options.data_dir), options)


def extract_table(
    table: Path, options: ExtractionOptions, table_options: TableOptions
) -> ExtractionCounts:
    """Extract the embeddings of the images that a table names; see `extract`."""
    dataset = table_set(table, options.data_dir, table_options)
    dataset.claim_folder()
    return _extract_set(dataset, options)


def _paths(labels: Sequence[ImageLabels]) -> list[str]:
    return [image.image_path for image in labels]


def _extract_set(
    dataset: LabelledSet, options: ExtractionOptions, related_paths: Sequence[str] = ()
) -> ExtractionCounts:
    """Extract the embeddings of a data set.

    Raises:
        DataError: it stored nothing, although it tried; else what `extract` raises.
    """
    image_paths = _paths(dataset.images)
    counts = extract(dataset.places, image_paths, options, related_paths)
    if counts.num_tried_in_vain:
        raise DataError(
            f"no answer was stored, all {counts.num_tried_in_vain:,} images that were tried "
            f"failed: {counts.reasons.most_common(1)[0][0]}; {FAILED_NAME} lists them"
        )
    return counts


def extract(
    places: Places,
    image_paths: Sequence[str],
    options: ExtractionOptions,
    related_paths: Sequence[str] = (),
) -> ExtractionCounts:
    """Send the images that have no answer yet, and store the answers.

    Args:
        places: of images and answers; the data set's folder gets `extractor.json` and `failed.csv`.
        image_paths: of the images, with forward slashes; one that occurs again counts once.
        options: how to extract.
        related_paths: images whose answers are to be of the same network, and are not sent now.

    Returns:
        what became of every image.

    Raises:
        DataError: there are no images, or what is there was made with other options.
        PathError: a folder with images that have no answer cannot be written.
        ContainerError: no face server answers, and none can be started.
        ServersAwayError, OtherNetworkError: see `ServerPool`; what was done stays.
        OSError: the disk takes no more; what was done stays.
        Interrupted: Ctrl-C, SIGTERM or SIGHUP came; what was done stays.
    """
    servers, dataset_dir = face_servers(options), places.dataset_dir
    with only_extraction(dataset_dir), StopRequest() as stop:
        remove_leftovers(dataset_dir)
        inventory = take_inventory(places, image_paths, options.resize)
        counts = _begin(places, inventory)
        if not inventory.missing:
            _report(counts, dataset_dir)
            return counts
        read_extractors(dataset_dir)  # a damaged one shows before a server is started
        folders = {Path(places.beside_answer(path)).parent: None for path in inventory.missing}
        refuse_unwritable(dataset_dir, *folders)
        done = inventory.done or take_inventory(places, related_paths, options.resize).done
        before = _made_before(places, image_paths, done, options)
        with ready_servers(servers, options, stop, before) as ready:
            pool = _checked_pool(places, done, ready, options)
            try:
                _send(Pipeline(places, pool, options), inventory.missing, counts, stop)
            except OSError:
                logger.warning("what was stored stays; the same command goes on from there")
                raise
            finally:
                pool.close()
                _report(counts, dataset_dir)
        _report_shares(pool)
    if stop.is_set:
        raise Interrupted("interrupted; the same command goes on from here", stop.exit_code)
    return counts


def _made_before(
    places: Places, image_paths: Sequence[str], done: Sequence[str], options: ExtractionOptions
) -> Extractor | None:
    """Return what made the answers that are there, of either kind; None without any."""
    if not done:
        other_kind = None if options.resize else DEFAULT_RESIZE
        done = take_inventory(places, image_paths, other_kind).done
    return extractor_of_done(read_extractors(places.dataset_dir), options.resize, len(done))


def _begin(places: Places, inventory: Inventory) -> ExtractionCounts:
    """Count what is there already, and the files that are not there."""
    num_done, num_missing = len(inventory.done), len(inventory.missing)
    num_total = num_done + num_missing + len(inventory.absent) + len(inventory.unreadable)
    if num_done + num_missing == 0:
        raise DataError(
            f"{places.image_dir} holds none of the {num_total:,} images that its labels name"
            + (f", such as {inventory.absent[0]}" if inventory.absent else "")
            + (f" ({inventory.unreadable[0][1]})" if inventory.unreadable else "")
            + f"; {REMEDY if places.table_dir is None else TABLE_REMEDY}"
        )
    counts = ExtractionCounts(num_total, num_done)
    for path in inventory.absent:
        counts.fail(path, MISSING_FILE)
    for path, why in inventory.unreadable:
        counts.fail(path, UNREADABLE, f"{UNREADABLE}: {why}")
    return counts


def _checked_pool(
    places: Places, done: Sequence[str], ready: ReadyServers, options: ExtractionOptions
) -> ServerPool:
    """Write what makes the embeddings; make a pool of the network of those that are done."""
    new = new_extractor(ready.description, ready.model, options.resize, options.jpeg_quality)
    extractor = update_extractor(places.dataset_dir, new, len(done))
    reference = find_reference_image(places, done, options)
    return ServerPool(ready.servers, options, reference, extractor.get("model"))


def find_reference_image(
    places: Places, done: Sequence[str], options: ExtractionOptions
) -> ReferenceImage | None:
    """Look among the images that are done for one with a face, to send again.

    Returns:
        None, with a warning if images are done, when no answer shows a face whose image is there.
    """
    answers = StoredAnswers(places, options.resize or 0)
    for path in done:
        with suppress(MissingError, UnusableError, ImageError):
            if faces := answers.read(path):
                body = request_for(places.image(path), options)
                return ReferenceImage(body, faces[0].embedding, path)
    if done:
        logger.warning(
            f"{places.dataset_dir}: none of the {len(done):,} images that are done shows a face "
            "and is there, so that it cannot be seen whether the server has the network of before"
        )
    return None


def _send(
    pipeline: Pipeline, paths: Sequence[str], counts: ExtractionCounts, stop: StopRequest
) -> None:
    """Send images and count what becomes of them."""
    counts.start()
    with (
        _progress_bar(len(paths), pipeline.name) as progress,
        closing(pipeline.outcomes(paths, lambda: stop.is_set)) as outcomes,
    ):
        for outcome in outcomes:
            counts.add(outcome)
            progress.update()


def _progress_bar(num_images: int, name: str) -> "tqdm[None]":
    """Show rate and remaining time; in a log file, only now and then."""
    seconds = 0.1 if sys.stderr.isatty() else 30
    return tqdm(total=num_images, desc=name, unit="image", mininterval=seconds)


def _report(counts: ExtractionCounts, dataset_dir: Path) -> None:
    """Log the counts; a list that cannot be written does not hide what ended the extraction."""
    logger.info(counts.table())
    path = dataset_dir / FAILED_NAME
    try:
        write_reasons(counts.failed, path)
    except OSError as error:
        logger.warning(f"{path} cannot be written: {error.strerror or error}")
        return
    if counts.failed:
        logger.info(f"the failed images with their reasons: {path}; the next call tries them again")


def _report_shares(pool: ServerPool) -> None:
    if len(pool.num_answers) > 1:
        shares = ", ".join(f"{url} {count:,}" for url, count in pool.num_answers.items())
        logger.info(f"answers by server: {shares}")
