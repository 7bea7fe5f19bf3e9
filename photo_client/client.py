"""The client: photos and clips to the face server, embeddings to ours, annotated copies back."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import groupby, takewhile

from tqdm import tqdm

from photo_client.annotator import PhotoAnnotator
from photo_client.clip_annotator import ClipAnnotator
from photo_client.face_server import RetryingFaceServer
from photo_client.guesser import FaceGuesser
from photo_client.in_order import in_order
from photo_client.options import AGE_GENDER_URL, FACE_URL, ClientOptions
from photo_client.photos import PhotoFile, find_photos, in_words
from photo_client.report import AnyResult, printable, report
from photo_client.results import PhotoResult
from photo_client.server import AgeGenderServer
from utils.errors import UserError
from utils.files import refuse_unwritable

EXIT_SOME_FAILED = 1


def run_client(options: ClientOptions, wait: Callable[[float], None] = time.sleep) -> int:
    """Annotate all photos and clips, and print what was seen.

    Args:
        options: what to do.
        wait: how to wait some seconds.

    Returns:
        the exit code: 0, or `EXIT_SOME_FAILED` when photos or clips failed.

    Raises:
        UserError: nothing to do, a folder that cannot be written, or a server is away or another
            one than expected; what was seen before is printed, and written, all the same.
    """
    left_out: Counter[str] = Counter()
    photos = find_photos(options.image_path, options.out_dir, left_out)
    if left_out:
        print(printable(in_words(left_out)), file=sys.stderr)
    refuse_unwritable(*(photo.annotated_path.parent for photo in photos))
    with opened_guesser(options, wait) as guesser:
        results: list[AnyResult] = []
        try:
            with closing(_annotated(photos, guesser, options)) as annotated:
                for result in _with_progress(annotated, len(photos)):
                    results.append(result)  # one by one: what was seen before an error is reported
        finally:
            report(results, guesser.health, options)
    return EXIT_SOME_FAILED if any(result.problem for result in results) else 0


def _with_progress(results: Iterable[AnyResult], num_photos: int) -> Iterator[AnyResult]:
    """Pass results on as they come, and show how many, and what there is to say of each."""
    for result in tqdm(results, "photos", num_photos, disable=num_photos == 1, file=sys.stderr):
        if result.problem:
            line = printable(f"{result.photo.path}: {result.problem}")
            tqdm.write(line, file=sys.stderr)
        yield result


def _annotated(
    photos: Sequence[PhotoFile], guesser: FaceGuesser, options: ClientOptions
) -> Generator[AnyResult, None, None]:
    """Annotate several photos at a time, and one clip, of which several frames are at work."""
    photo_annotator = PhotoAnnotator(guesser, options.resize)
    clip_annotator = ClipAnnotator(guesser, options)
    for is_clip, group in groupby(photos, lambda photo: photo.is_clip):
        if is_clip:
            yield from map(clip_annotator.annotate, group)
            continue
        yield from _annotated_photos(group, photo_annotator)


def _annotated_photos(
    photos: Iterable[PhotoFile], annotator: PhotoAnnotator
) -> Generator[PhotoResult, None, None]:
    """Annotate several photos at a time; when a server goes away, end those that are at work."""
    failures: list[UserError] = []
    until_failure = takewhile(lambda _: not failures, photos)
    with closing(in_order(annotator.annotate, until_failure)) as outcomes:
        for _, outcome in outcomes:
            try:
                result = outcome.result()
            except UserError as failure:
                failures.append(failure)
                continue
            yield result
    if failures:
        raise failures[0]


@contextmanager
def opened_guesser(
    options: ClientOptions, wait: Callable[[float], None] = time.sleep
) -> Iterator[FaceGuesser]:
    """Open what finds and judges faces: servers, or networks in this process.

    Raises:
        UserError: a server is away, or another one than expected, or networks cannot be loaded.
    """
    with ExitStack() as stack:
        if options.local:
            from photo_client.local import LocalModels, load_local

            predictor = stack.enter_context(load_local(options))
            yield FaceGuesser(predictor, LocalModels(predictor), options.wanted)
            return
        address = options.url_age_gender or AGE_GENDER_URL
        server = stack.enter_context(closing(AgeGenderServer(address, options.timeout, wait)))
        url_face = options.url_face or (
            server.url + "faces" if server.health().finds_faces else FACE_URL
        )
        face_server = stack.enter_context(
            closing(RetryingFaceServer(url_face, options.timeout, wait))
        )
        yield FaceGuesser(face_server, server, options.wanted)
