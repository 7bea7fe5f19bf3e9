"""How far intervals and sets hold when the world changes: other people, noise, worse pictures.

    python benchmarks/bench_shift.py DATA_DIR PHOTOS PACK

DATA_DIR holds `wiki_crop/data.npy` with known subjects, PHOTOS is a folder of photos of some of
them, and PACK the model pack that made the embeddings. Who is on a photo is not trained on: the
nearest embedding, at a cosine of 0.9 or more, tells age and gender. docs/confidence.md has the
results.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring, recipes
from benchmarks.bench_real import config_of
from benchmarks.degrading import DEGRADED, Degrade
from face_networks.analyzer import FaceAnalyzer
from faces.errors import ImageError
from faces.found import FoundFaces, find_faces
from faces.out_of_distribution import OutOfDistributionDetector, rotated
from faces.photo import picture_of, prepare
from faces.squares import DEFAULT_RESIZE
from model import model as arch
from studies.judged_confidence import JudgedConfidence, judge
from studies.predictions import FaceInfo, Predictions, predict, read_data, split_rows
from trainer.fit import fit
from utils.checkpoint import load_checkpoint
from utils.labels import ages_to_classes, genders_to_classes
from utils.weights import load_weights

DATA_FILE = "wiki_crop/data.npy"
MAX_PHOTOS = 200
SAME_FACE = 0.9
NOISE = (0.25, 0.5, 1.0)
"""Lengths of the noise that is added to embeddings, whose length is 1."""

BOUNDS = (0.7, 0.74, 0.78, 0.8, 0.82)
"""Of det_score."""

Embeddings = NDArray[np.float32]


def main() -> None:
    """Train without the people on the photos, and print a line for each change."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("pack")
    arguments = parser.parse_args()
    rows = np.load(arguments.data_dir / DATA_FILE, allow_pickle=False)
    with FaceAnalyzer(arguments.pack) as networks, tempfile.TemporaryDirectory() as name:
        photos = find_photos(arguments.photos, networks, rows)
        is_shown = np.isin(rows["subject"], [photo.row["subject"] for photo in photos])
        path = Path(name) / DATA_FILE
        path.parent.mkdir()
        np.save(path, rows[~is_shown])
        models = [Trained(task, Path(name)) for task in ("age101", "gender")]
        print("change | faces | age held | years | gender held | one letter | foreign | det_score")
        judge_people(models)
        judge_embeddings(models)
        judge_photos(models, networks, photos)


# --- models ---------------------------------------------------------------------------------------


class Trained:
    """A model, and its validation people: half fit its confidence, the others are asked about."""

    def __init__(self, task: str, data_dir: Path) -> None:
        config = config_of(data_dir, recipes.shipped(task), 0, data_dir / "saved")
        best_path = fit(config).best_path
        rows = split_rows(config, read_data(str(data_dir), "wiki"))["val"]
        _, probabilities = predict(config, best_path, {"val": rows})
        checkpoint = load_checkpoint(best_path)
        self.task = task
        self.network = config.init_obj("arch", arch)
        load_weights(self.network, checkpoint)
        self.network.eval()
        self.detector = OutOfDistributionDetector.from_checkpoint(checkpoint.content)
        self.embeddings = rows.embeddings
        self.validation = Predictions(probabilities["val"], rows.label, rows.faces)
        _, people = np.unique(rows.faces.subject, return_inverse=True)
        self.is_asked = people % 2 == 1

    def ask(self, embeddings: Embeddings, faces: FaceInfo) -> JudgedConfidence:
        """Judge faces by what was fitted to half of the validation people."""
        with torch.inference_mode():
            probabilities = self.network(torch.from_numpy(embeddings)).softmax(1).numpy()
        is_gender = self.task == "gender"
        labels = genders_to_classes(faces.gender) if is_gender else ages_to_classes(faces.age, 101)
        fitted_on = self.validation[np.flatnonzero(~self.is_asked)]
        return judge(self.task, fitted_on, Predictions(probabilities, labels, faces))

    def foreign_share(self, embeddings: Embeddings) -> float:
        """Return the share that the server marks as of another network."""
        return float("nan") if self.detector is None else self.detector.foreign_share(embeddings)


def print_line(change: str, judged: Sequence[JudgedConfidence], foreign: float, score: str) -> None:
    """Print one line of the table: of the age model, then of the gender model."""
    cells = [f"{change:30}", f"{len(judged[0].covered):4}"]
    for one, written in zip(judged, ("{:4.1f}", "{:.3f}"), strict=True):
        cells += [f"{one.covered.mean():.3f}", written.format(one.size.mean())]
    print(" | ".join([*cells, f"{foreign:.3f}", score]), flush=True)


# --- other people, other embeddings ---------------------------------------------------------------


def judge_people(models: Sequence[Trained]) -> None:
    """Fit to some people, and ask about people of another age or gender."""
    of_all = models[0].validation.faces
    is_young, is_old = of_all.age < 25, of_all.age >= 40
    is_male = of_all.gender == "m"
    everybody = np.ones(len(is_male), bool)
    parts = {
        "the same kind of people": (everybody, everybody),
        "from 25 on, then under 25": (~is_young, is_young),
        "under 40, then from 40 on": (~is_old, is_old),
        "men, then women": (is_male, ~is_male),
    }
    for change, (is_fitted, is_asked) in parts.items():
        judged = [
            judge(
                model.task,
                model.validation[np.flatnonzero(~model.is_asked & is_fitted)],
                model.validation[np.flatnonzero(model.is_asked & is_asked)],
            )
            for model in models
        ]
        print_line(change, judged, 0.0, "")


def judge_embeddings(models: Sequence[Trained]) -> None:
    """Add noise to embeddings, or turn them as another network might."""
    age_model = models[0]
    asked = np.flatnonzero(age_model.is_asked)
    faces, embeddings = age_model.validation.faces[asked], age_model.embeddings[asked]
    changed = {f"noise of length {length}": noisy(embeddings, length) for length in NOISE}
    changed["another network (rotated)"] = rotated(embeddings)
    for change, vectors in changed.items():
        judged = [model.ask(vectors, faces) for model in models]
        print_line(change, judged, age_model.foreign_share(vectors), "")


def noisy(embeddings: Embeddings, length: float) -> Embeddings:
    """Add noise of a length to embeddings, and make them of length 1 again."""
    noise = np.random.default_rng(0).standard_normal(embeddings.shape).astype(np.float32)
    noise *= length / np.linalg.norm(noise, axis=1, keepdims=True)
    noise += embeddings
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return noise


# --- photos ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Photo:
    """A photo of one face, and the row of the data file that tells who it is."""

    path: Path
    box: tuple[float, float, float, float]
    row: np.void


def find_photos(folder: Path, networks: FaceAnalyzer, rows: NDArray[np.void]) -> list[Photo]:
    """Find photos of one face that the data file knows; each face once, in random order."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".jpg")
    shuffled = [paths[index] for index in np.random.default_rng(0).permutation(len(paths))]
    found: dict[int, Photo] = {}
    contents = (path.read_bytes() for path in shuffled[: 2 * MAX_PHOTOS])
    for path, answer in zip(shuffled, find_all(networks, contents), strict=False):
        if answer is None or len(answer.boxes) != 1 or len(found) == MAX_PHOTOS:
            continue
        cosines = rows["embedding"] @ answer.embeddings[0]
        nearest = int(cosines.argmax())
        if cosines[nearest] >= SAME_FACE:
            found.setdefault(nearest, Photo(path, answer.boxes[0], rows[nearest]))
    return list(found.values())


def find_all(networks: FaceAnalyzer, contents: Iterator[bytes]) -> Iterator[FoundFaces | None]:
    """Find the faces of pictures, several at once; None for what is no picture."""

    def find(content: bytes) -> FoundFaces | None:
        try:
            return find_faces(prepare(content, DEFAULT_RESIZE), networks)
        except ImageError:
            return None

    with ThreadPoolExecutor(networks.workers) as threads:
        yield from threads.map(find, contents)


def judge_photos(
    models: Sequence[Trained], networks: FaceAnalyzer, photos: Sequence[Photo]
) -> None:
    """Make the photos worse, and ask about the surest face of each; then try bounds."""
    everything = []
    for change, degrade in DEGRADED.items():
        answers = list(find_all(networks, degraded(photos, degrade)))
        pairs = [(photo, found) for photo, found in zip(photos, answers, strict=True) if found]
        pairs = [(photo, found) for photo, found in pairs if found.boxes]
        surest = [int(np.argmax(found.det_scores)) for _, found in pairs]
        scores = np.array(
            [found.det_scores[at] for at, (_, found) in zip(surest, pairs, strict=True)]
        )
        vectors = np.stack(
            [found.embeddings[at] for at, (_, found) in zip(surest, pairs, strict=True)]
        )
        judged = [model.ask(vectors, faces_of([photo for photo, _ in pairs])) for model in models]
        low, median = np.quantile(scores, [0.05, 0.5])
        print_line(change, judged, models[0].foreign_share(vectors), f"{median:.2f} ({low:.2f})")
        everything.append((scores, *(one.covered for one in judged)))
    scores, *covered = (np.concatenate(column) for column in zip(*everything, strict=True))
    undegraded = everything[0][0]
    for bound in BOUNDS:
        kept = scores >= bound
        cells = [f"{one[side].mean():.3f}" for one in covered for side in (kept, ~kept)]
        print(f"det_score {bound} | {(undegraded >= bound).mean():.3f} kept |", " | ".join(cells))


def degraded(photos: Sequence[Photo], degrade: Degrade) -> Iterator[bytes]:
    """Make photos worse, one after the other."""
    for photo in photos:
        yield degrade(picture_of(photo.path.read_bytes()), photo.box)


def faces_of(photos: Sequence[Photo]) -> FaceInfo:
    """Return who is on photos."""
    rows = np.array([photo.row for photo in photos])
    names = np.arange(len(rows)), np.full(len(rows), "wiki")
    return FaceInfo(rows["age"], rows["gender"], rows["subject"], *names)


if __name__ == "__main__":
    main()
