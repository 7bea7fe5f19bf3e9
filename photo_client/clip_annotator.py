"""Annotates clips: looks for people first, then writes the clip with their boxes.

The clip is read twice, so that a label can say the mean over all frames from the first one on, and
so that no more than a few frames are in memory at a time.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

from PIL import Image
from tqdm import tqdm

from faces.photo import FULL_QUALITY, SentPhoto, prepare_picture
from faces.squares import compressed
from photo_client.clip_reader import ClipLimits, ClipReader, opened_clip
from photo_client.clip_writer import written_clip
from photo_client.errors import PhotoError, writing
from photo_client.frame_painter import DrawnTimes, FramePainter
from photo_client.guesser import FaceGuesser, Guesses
from photo_client.in_order import in_order
from photo_client.options import ClientOptions
from photo_client.people import MAX_GAP_S
from photo_client.photos import PhotoFile
from photo_client.report import people_document, printable
from photo_client.results import ClipResult
from photo_client.tracking import Tracker
from utils.files import write_json
from utils.locks import remove_leftovers


class ClipAnnotator:
    """Has frames of clips guessed, and writes clips with the people in them."""

    def __init__(self, guesser: FaceGuesser, options: ClientOptions) -> None:
        self._guesser, self._options = guesser, options
        self._limits = ClipLimits(options.max_seconds, options.max_pixels)

    def annotate(self, clip: PhotoFile) -> ClipResult:
        """Find the people of a clip, and write the annotated clip.

        Raises:
            UserError: a server is away.
        """
        result = ClipResult(clip)
        with result.noting_failure():
            fps = self._look(clip, result)
            with writing(clip.annotated_path):
                self._write(clip, result, fps)
        return result

    def _look(self, clip: PhotoFile, result: ClipResult) -> float:
        """Read the clip, and have frames guessed; return the frame rate to write."""
        tracker = Tracker(max(MAX_GAP_S, 3.5 / self._options.fps))  # two frames missed, at least
        failures: Counter[str] = Counter()
        with (
            opened_clip(clip.path, self._limits) as reader,
            _progress(f"{clip.path.name}: looking", reader.announced_s) as progress,
            closing(in_order(self._guess, self._chosen(reader))) as answers,
        ):
            result.size = reader.size
            for (time_s, _), answer in answers:
                progress.update(max(0.0, time_s - progress.n))
                try:
                    guesses = answer.result()
                except PhotoError as error:
                    failures[str(error)] += 1
                    continue
                result.num_analysed, result.last_analysed_s = result.num_analysed + 1, time_s
                result.face_model = guesses.face_model
                tracker.add(time_s, guesses)
            if not result.num_analysed:
                reason = failures.most_common(1)[0][0] if failures else "no frame can be decoded"
                raise PhotoError(reason)
            result.people, result.missing = tracker.people, _missing(reader, failures)
            result.num_frames, result.duration_s = reader.num_frames, reader.duration_s
            return reader.written_fps

    def _chosen(self, reader: ClipReader) -> Iterator[tuple[float, Image.Image]]:
        """Take every so many frames, those that can be decoded, with their times."""
        next_s = 0.0
        for time_s in reader.times():
            if time_s + 0.5 / reader.fps < next_s:  # the nearest frame counts
                continue
            next_s = max(next_s + 1 / self._options.fps, time_s)
            frame = reader.picture()
            if frame is not None:
                yield time_s, frame

    def _guess(self, chosen: tuple[float, Image.Image]) -> Guesses:
        _, frame = chosen
        if self._options.resize:
            return self._guesser.guess(prepare_picture(frame, self._options.resize))
        return self._guesser.guess(SentPhoto(compressed(frame, FULL_QUALITY), *frame.size))

    def _write(self, clip: PhotoFile, result: ClipResult, fps: float) -> None:
        """Write the clip with boxes, and the file that lists the people."""
        remove_leftovers(clip.annotated_path.parent)
        times = DrawnTimes(0.5 / self._options.fps, result.last_analysed_s)
        painter = FramePainter(result.size, result.people, times)
        with (
            opened_clip(clip.path, self._limits) as reader,
            written_clip(clip.annotated_path, painter.size, fps, self._options.codec) as writer,
            _progress(f"{clip.path.name}: writing", result.duration_s) as progress,
        ):
            shown: Image.Image | None = None
            for time_s in reader.times():
                while shown and (writer.num_frames + 0.5) / writer.fps <= time_s:
                    writer.write(shown)
                frame = reader.picture()
                shown = shown if frame is None else painter.painted(frame, time_s)
                progress.update(time_s - progress.n)
            if shown:
                writer.write(shown)
        write_json(
            people_document(result, self._guesser.health, self._options.level), clip.people_path
        )


def _missing(reader: ClipReader, failures: Counter[str]) -> str:
    """Return what of a clip was not looked at; "" if nothing."""
    reasons = [reader.missing_words()]
    if failures:
        most = failures.most_common(1)[0][0]
        reasons.append(f"{failures.total()} frames got no answer ({most})")
    return "; ".join(filter(None, reasons))


@contextmanager
def _progress(what: str, seconds: float | None) -> Iterator["tqdm[None]"]:
    """Show a bar on a terminal, and nothing elsewhere."""
    form = "{desc}: {n:.0f}/{total:.0f} s |{bar}| {elapsed}" if seconds else "{desc}: {n:.0f} s"
    options = {"desc": printable(what), "bar_format": form, "leave": False, "disable": None}
    with tqdm(total=seconds, file=sys.stderr, **options) as bar:
        yield bar
