"""Who is who from frame to frame: the faces of a frame are assigned to the people seen so far.

Two things speak for a face and a person being the same: the cosine of their embeddings, and how
much the face's box lies on the person's last one (intersection over union), while that is recent.
A pair is possible if

- the boxes lie on each other, and the embeddings do not speak against it: a turned or blurred face
  has an embedding far from that of the same face in good light; or
- the embeddings alone say so: the person comes back, or the clip was cut.

Among possible pairs the assignment with the largest sum of cosines and overlaps counts (Hungarian
algorithm), so that two people who cross keep their numbers. Faces that are left begin new people.
As for all such rules, people who look alike can be taken for one who comes back.

A face is compared with the mean of a person's embeddings, and with the last one; the nearer counts.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from photo_client.errors import PhotoError
from photo_client.face import SeenFace
from photo_client.guesser import Guesses
from photo_client.people import MAX_GAP_S, SeenPerson, Sighting
from utils.labels import EMBEDDING_SIZE

MIN_OVERLAP = 0.25
CONTINUES_COSINE = 0.2
"""The least cosine of a face that lies on a person's last box; 89 % of other people have less."""

RETURNS_COSINE = 0.5
"""The least cosine of a person who comes back, anywhere; 99 % of other people have less.

Both shares were measured with a small network (MobileFaceNet) on faces that were shrunk, turned and
blurred, as far as the detector was sure of them (0.75); 6 % and 11 % of equal people had less.
"""

MAX_PEOPLE = 1000
MAX_SIGHTINGS = 500_000
"""Of a clip: some 200 MB."""

_IMPOSSIBLE = -1e3
Floats = npt.NDArray[np.float32]
Boxes = npt.NDArray[np.float64]


@dataclass
class _Track:
    """A person, and what the next frame is compared with."""

    person: SeenPerson
    sum_of_embeddings: Floats
    last_embedding: Floats

    @property
    def mean_embedding(self) -> Floats:
        norm = max(float(np.linalg.norm(self.sum_of_embeddings)), 1e-6)
        return np.asarray(self.sum_of_embeddings / norm, np.float32)


class Tracker:
    """Collects people; frames are added in the order of their times.

    Attributes:
        people: in the order in which they are first seen.

    Args:
        max_gap_s: seconds out of sight over which a person keeps the box.
    """

    def __init__(self, max_gap_s: float = MAX_GAP_S) -> None:
        self.people: list[SeenPerson] = []
        self._max_gap_s = max_gap_s
        self._tracks: list[_Track] = []
        self._num_sightings = 0

    def add(self, time_s: float, guesses: Guesses) -> None:
        """Assign the faces of a frame.

        Raises:
            PhotoError: there are too many faces, or people.
        """
        assigned = self._assigned(time_s, guesses)
        for number, face in enumerate(guesses.faces):
            embedding = guesses.embeddings[number]
            track = assigned.get(number) or self._new_track()
            track.person.sightings.append(Sighting(time_s, face))
            track.sum_of_embeddings += embedding * np.float32(face.det_score)
            track.last_embedding = embedding
        self._num_sightings += len(guesses.faces)
        if len(self.people) > MAX_PEOPLE or self._num_sightings > MAX_SIGHTINGS:
            most = f"expected at most {MAX_PEOPLE:,} people, and {MAX_SIGHTINGS:,} faces in all"
            raise PhotoError("too many faces", most)

    def _new_track(self) -> _Track:
        self.people.append(SeenPerson(len(self.people) + 1, self._max_gap_s))
        size = EMBEDDING_SIZE
        nothing = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._tracks.append(_Track(self.people[-1], *nothing))
        return self._tracks[-1]

    def _assigned(self, time_s: float, guesses: Guesses) -> dict[int, _Track]:
        """Return the people of those faces that belong to one, by the number of the face."""
        if not (self._tracks and guesses.faces):
            return {}
        from scipy.optimize import linear_sum_assignment

        affinity = self._affinity(time_s, guesses)
        pairs = zip(*linear_sum_assignment(affinity, maximize=True), strict=True)
        return {
            int(face): self._tracks[track]
            for track, face in pairs
            if affinity[track, face] > _IMPOSSIBLE
        }

    def _affinity(self, time_s: float, guesses: Guesses) -> Boxes:
        """Return what speaks for each pair, (people, faces)."""
        cosines = np.maximum(
            np.stack([track.mean_embedding for track in self._tracks]) @ guesses.embeddings.T,
            np.stack([track.last_embedding for track in self._tracks]) @ guesses.embeddings.T,
        )
        last = [track.person.sightings[-1] for track in self._tracks]
        is_recent = np.array([time_s - seen.time_s <= self._max_gap_s for seen in last])
        overlaps = overlaps_of(
            _boxes([seen.face for seen in last]), _boxes(guesses.faces)
        ) * is_recent.reshape(-1, 1)
        continues = (overlaps >= MIN_OVERLAP) & (cosines >= CONTINUES_COSINE)
        is_possible = continues | (cosines >= RETURNS_COSINE)
        return np.where(is_possible, cosines + overlaps, _IMPOSSIBLE)


def _boxes(faces: list[SeenFace]) -> Boxes:
    return np.array([face.bbox for face in faces], np.float64)


def overlaps_of(boxes: Boxes, others: Boxes) -> Boxes:
    """Return intersection over union of boxes (n, 4) and others (m, 4): (n, m).

    >>> overlaps_of(np.array([[0, 0, 2, 1.0]]), np.array([[1, 0, 3, 1.0], [5, 5, 6, 6]])).round(2)
    array([[0.33, 0.  ]])
    """
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Boxes = (high - low).clip(0).prod(axis=2)
    areas = [(some[:, 2:] - some[:, :2]).prod(axis=1) for some in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - shared
    return shared / np.where(union > 0, union, 1.0)
