"""What an extraction tells at its end: a table, and a list of what failed."""

import csv
import io
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from extraction.pipeline import ImageOutcome
from utils.files import atomic_write


@dataclass(slots=True)
class ExtractionCounts:
    """Counts of the images, each in one of them.

    Attributes:
        num_total: images that the labels name.
        num_before: answered before this call.
        num_now: answered by this call; among them `num_unusable` that the server could not use.
        failed: (path, reason in full) of the images that failed.
        reasons: images that failed, by reason in few words.
    """

    num_total: int
    num_before: int
    num_now: int = 0
    num_unusable: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    _num_at_start: int = 0
    _start: float = 0.0
    _num_tried: int = 0
    _num_unread: int = 0

    def start(self) -> None:
        """Begin to measure the rate."""
        self._start = time.monotonic()
        self._num_at_start = len(self.failed)

    def add(self, outcome: ImageOutcome) -> None:
        """Count an image that was sent, or could not be."""
        self.seconds = time.monotonic() - self._start
        self._num_tried += 1
        self._num_unread += outcome.is_unread
        if outcome.reason is None:
            self.num_now += 1
            self.num_unusable += outcome.is_unusable
        else:
            self.fail(outcome.path, outcome.reason, outcome.detail)

    def fail(self, path: str, reason: str, detail: str = "") -> None:
        """Count an image that failed."""
        self.reasons[reason] += 1
        self.failed.append((path, detail or reason))

    @property
    def num_left(self) -> int:
        """Images that were not come to."""
        return self.num_total - self.num_before - self.num_now - len(self.failed)

    @property
    def num_tried_in_vain(self) -> int:
        """Images that failed in a call that stored nothing; 0 where there is no more to be done.

        Images that cannot be read fail again in each call that comes after the others are done.
        """
        is_rest = self.num_before > 0 and self._num_tried == self._num_unread
        return 0 if self.num_now or is_rest else self._num_tried

    @property
    def rate(self) -> float:
        """Images that this call dealt with, answered or failed, in a second."""
        num_images = self.num_now + len(self.failed) - self._num_at_start
        return num_images / self.seconds if self.seconds else 0.0

    def table(self) -> str:
        """Write the counts as lines, which add up."""
        rows = [("done before", self.num_before), ("done now", self.num_now)]
        if self.num_unusable:
            rows.append(("  of these unusable for the server", self.num_unusable))
        rows.append(("failed", len(self.failed)))
        rows += [(f"  {reason}", count) for reason, count in self.reasons.most_common()]
        if self.num_left:
            rows.append(("left for the next call", self.num_left))
        rows.append(("images", self.num_total))
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}} {count:>9,}" for name, count in rows]
        return "\n".join([*lines, f"{'images/s':<{width}} {self.rate:>9,.1f}"])


def write_reasons(
    failed: Iterable[tuple[str, ...]], path: Path, columns: Sequence[str] = ("path", "reason")
) -> None:
    """Write what failed, and why, as CSV, whole or not at all."""
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows(failed)
    with atomic_write(path) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))
