"""A person of a clip: where and when they are seen, and what the frames say together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from faces.photo import Box
from photo_client.face import SeenFace, Uncertainty

MAX_GAP_S = 1.0
"""Seconds out of sight over which a person keeps the box."""

_SMOOTHING = np.array([0.25, 0.5, 0.25])
"""Weights of a box, and of those before and after it: they leave an even movement as it is."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A person on one frame that was analysed."""

    time_s: float
    face: SeenFace


@dataclass(frozen=True)
class TimeRange:
    """Frames without a gap: times in seconds (n,), and smoothed boxes (n, 4)."""

    times: npt.NDArray[np.float64]
    boxes: npt.NDArray[np.float64]

    def box_at(self, time_s: float, margin_s: float) -> Box | None:
        """Return the box between two frames; None at times further than a margin from all."""
        if not self.times[0] - margin_s <= time_s <= self.times[-1] + margin_s:
            return None
        x1, y1, x2, y2 = (float(np.interp(time_s, self.times, edge)) for edge in self.boxes.T)
        return x1, y1, x2, y2


@dataclass
class SeenPerson:
    """Everything that is seen of one person, in the order of time.

    Ages, genders and entropies are means over the frames. Each frame counts by how sure the
    detector is of the face, so that a blurred or turned one counts less. Weights by size, and the
    age of the mean embedding, were no better: less than the error of a trial with 48 faces.

    Attributes:
        number: 1 for the first person that is seen.
        max_gap_s: seconds out of sight after which a new time range begins.
        sightings: at least one, once the clip is read.
    """

    number: int
    max_gap_s: float = MAX_GAP_S
    sightings: list[Sighting] = field(default_factory=list)

    @cached_property
    def mean_face(self) -> SeenFace:
        """The face as the frames say together; its box is that of the surest frame.

        It is of a foreign network if most frames say so.
        """
        faces = [sighting.face for sighting in self.sightings]
        weights = np.array([max(face.det_score, 1e-6) for face in faces])

        def mean(values: Sequence[float]) -> float:
            return float(np.average(values, weights=weights))

        known = [face.uncertainty for face in faces if face.uncertainty is not None]
        verdicts = [face.in_distribution for face in faces if face.in_distribution is not None]
        return SeenFace(
            bbox=max(faces, key=lambda face: face.det_score).bbox,
            det_score=float(np.mean([face.det_score for face in faces])),
            age=mean([face.age for face in faces]),
            male=mean([face.male for face in faces]),
            uncertainty=_mean_uncertainty(known, mean) if len(known) == len(faces) else None,
            in_distribution=2 * sum(verdicts) >= len(verdicts) if verdicts else None,
        )

    @cached_property
    def ranges(self) -> list[TimeRange]:
        """The times without a longer gap, with the boxes smoothed within each."""
        times = np.array([sighting.time_s for sighting in self.sightings])
        boxes = np.array([sighting.face.bbox for sighting in self.sightings], np.float64)
        cuts = np.flatnonzero(np.diff(times) > self.max_gap_s) + 1
        edges = [0, *cuts.tolist(), len(times)]
        return [
            TimeRange(times[start:end], _smoothed(boxes[start:end]))
            for start, end in pairwise(edges)
        ]

    def box_at(self, time_s: float, margin_s: float) -> Box | None:
        """Return the box at a time of the clip; None while the person is out of sight."""
        boxes = (one.box_at(time_s, margin_s) for one in self.ranges)
        return next((box for box in boxes if box is not None), None)

    @property
    def times(self) -> str:
        """The ranges in seconds, in words: "0.0-2.4, 7.0-9.8"."""
        return ", ".join(f"{one.times[0]:.1f}-{one.times[-1]:.1f}" for one in self.ranges)

    def as_json(self, with_boxes: bool) -> dict[str, Any]:
        """Return what the files say of a person; boxes are those of the frames analysed."""
        said = self.mean_face.as_json()
        del said["bbox"]
        content = {
            "person": self.number,
            **said,
            "num_frames": len(self.sightings),
            "ranges": [[round(float(t), 3) for t in one.times[[0, -1]]] for one in self.ranges],
        }
        if with_boxes:
            content["boxes"] = [
                {"time": round(seen.time_s, 3), "bbox": [round(edge, 1) for edge in seen.face.bbox]}
                for seen in self.sightings
            ]
        return content


def _mean_uncertainty(known: Sequence[Uncertainty], mean: Any) -> Uncertainty:
    names = ("age", "gender", "age_share", "gender_share")
    return Uncertainty(*(mean([getattr(one, name) for one in known]) for name in names))


def _smoothed(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Smooth boxes (n, 4) over time; the first and the last stay.

    >>> _smoothed(np.array([[0.0] * 4, [4.0] * 4, [0.0] * 4])).tolist()[1]
    [2.0, 2.0, 2.0, 2.0]
    """
    smooth = boxes.copy()
    if len(boxes) > 2:
        smooth[1:-1] = sum(
            weight * boxes[start : start + len(boxes) - 2]
            for start, weight in enumerate(_SMOOTHING)
        )
    return smooth
