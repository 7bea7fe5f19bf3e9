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
from utils.labels import GENDERS

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

    A range of ages goes from the mean of the first years to the mean of the last ones, to the whole
    year, over the frames that have a range: averaged quantiles. Frames of a clip are alike, so the
    range does not become narrower with their number. A gender is in the set if it is in the sets of
    half of the frames. Source: Lichtendahl, Grushka-Cockayne and Winkler, Is It Better to Average
    Probabilities or Quantiles? (2013).

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

        It is of a foreign network, or not covered, if most frames say so.
        """
        faces = [sighting.face for sighting in self.sightings]
        age, male = _means([((face.age, face.male), face.det_score) for face in faces])
        return SeenFace(
            bbox=max(faces, key=lambda face: face.det_score).bbox,
            det_score=float(np.mean([face.det_score for face in faces])),
            age=age,
            male=male,
            uncertainty=_mean_uncertainty(faces),
            in_distribution=_verdict([face.in_distribution for face in faces]),
            age_interval=_mean_interval(faces),
            gender_set=_mean_set(faces),
            over=_mean_over(faces),
            covered=_verdict([face.covered for face in faces]),
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


def _means(seen: Sequence[tuple[Sequence[float], float]]) -> list[float]:
    """Return the means of k values over frames, each (values, det_score) at least one."""
    values, scores = zip(*seen, strict=True)
    means: list[float] = np.average(values, axis=0, weights=np.maximum(scores, 1e-6)).tolist()
    return means


def _mean_uncertainty(faces: Sequence[SeenFace]) -> Uncertainty | None:
    known = [(one, face.det_score) for face in faces if (one := face.uncertainty) is not None]
    if not known:
        return None
    age, gender = _means([((one.age, one.gender), score) for one, score in known])
    return Uncertainty(age, gender, known[0][0].num_ages)


def _mean_interval(faces: Sequence[SeenFace]) -> list[int] | None:
    known = [(face.age_interval, face.det_score) for face in faces if face.age_interval]
    return [round(year) for year in _means(known)] if known else None


def _mean_set(faces: Sequence[SeenFace]) -> list[str] | None:
    known = [
        ([float(letter in face.gender_set) for letter in GENDERS], face.det_score)
        for face in faces
        if face.gender_set
    ]
    if not known:
        return None
    male, female = _means(known)  # of which one is half or more, but for rounding
    least = min(0.5, max(male, female))
    return [letter for letter, share in zip(GENDERS, (male, female), strict=True) if share >= least]


def _mean_over(faces: Sequence[SeenFace]) -> dict[str, float] | None:
    known = [(face.over, face.det_score) for face in faces if face.over]
    if not known:
        return None
    shares = _means([(list(over.values()), score) for over, score in known])
    return dict(zip(known[0][0], shares, strict=True))


def _verdict(said: Sequence[bool | None]) -> bool | None:
    """Return what at least half of those say that say something."""
    known = [one for one in said if one is not None]
    return 2 * sum(known) >= len(known) if known else None


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
