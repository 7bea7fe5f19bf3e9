"""Which intervals of ages are the narrowest at the same coverage, and which calibration is best.

    python benchmarks/bench_intervals.py DATA_DIR

DATA_DIR is as for bench_real.py. Each of five seeds holds out another fifth of the people: one half
of these fits, the other half measures. docs/confidence.md has the results.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import measuring, recipes
from benchmarks.bench_real import SEEDS, config_of
from confidence.age import AgeConfidence
from confidence.conformal import LEVELS, radii_of
from confidence.error_rates import THRESHOLDS
from confidence.rows import Floats, JudgedRows
from confidence.thresholds import over_by_class
from trainer.confidence import KnownPeople
from trainer.fit import fit
from utils.labels import class_bounds

AGE_STARTS = (13, 18, 30, 45, 60)
"""First true ages of the groups whose coverage is printed, the first group aside."""

Score = Callable[[Floats, Floats, float], Floats]
"""Takes probabilities (N, C), years (C,) and a level; returns how unusual each class is, (N, C)."""


def absolute_residual(p: Floats, years: Floats, _: float) -> Floats:
    """Return the distance from the expected age."""
    distance: Floats = np.abs(years - (p @ years)[:, None])
    return distance


def normalised_residual(p: Floats, years: Floats, _: float) -> Floats:
    """Return that distance in standard deviations, of which each is a year wider."""
    deviation = np.sqrt(np.maximum(p @ years**2 - (p @ years) ** 2, 0))
    scores: Floats = absolute_residual(p, years, 0) / (deviation + 1)[:, None]
    return scores


def conformalised_quantiles(p: Floats, years: Floats, level: float) -> Floats:
    """Return how far a class is outside two quantiles. Source: arXiv 1905.03222."""
    middles = (years[1:] + years[:-1]) / 2
    edges = np.array([2 * years[0] - middles[0], *middles, 2 * years[-1] - middles[-1]])
    tails = ((1 - level) / 2, (1 + level) / 2)
    sums = np.pad(p.cumsum(1), ((0, 0), (1, 0)))
    low, high = np.array([np.interp(tails, one, edges) for one in sums]).T[:, :, None]
    scores: Floats = np.maximum(low - years, years - high)
    return scores


def place_in_distribution(p: Floats, years: Floats, _: float) -> Floats:
    """Return the distance from the median as a probability. Source: arXiv 1909.07889."""
    return np.abs(p.cumsum(1) - p / 2 - 0.5)


def shortest_interval(p: Floats, years: Floats, _: float) -> Floats:
    """Return the probability of the interval grown from the mode. Source: arXiv 2105.08747."""
    rows, padded = np.arange(len(p)), np.pad(p, ((0, 0), (1, 1)), constant_values=-1.0)
    scores, first = np.zeros_like(p), p.argmax(1)
    last, mass = first.copy(), p.max(1)
    scores[rows, first] = mass / 2
    for _ in range(p.shape[1] - 1):
        below, above = padded[rows, first], padded[rows, last + 2]
        grows_down = below > above
        first, last = first - grows_down, last + ~grows_down
        scores[rows, np.where(grows_down, first, last)] = mass + np.maximum(below, above) / 2
        mass = mass + np.maximum(below, above)
    return scores


SCORES: tuple[Score, ...] = (
    absolute_residual,
    normalised_residual,
    conformalised_quantiles,
    place_in_distribution,
    shortest_interval,
)
Halves = tuple[JudgedRows, JudgedRows]


def main() -> None:
    """Train, and print means over the seeds."""
    parser = measuring.benchmark_parser(__doc__)
    parser.add_argument("data_dir", type=Path)
    data_dir = parser.parse_args().data_dir
    for task, num_classes in (("age101", 101), ("age8", 8)):
        bounds = class_bounds(num_classes).astype(np.float64)
        halves = [judged_halves(data_dir, task, seed) for seed in SEEDS]
        for level in (0.8, 0.9, 0.95):
            for score in SCORES:
                print_means(f"{task} {level} {score.__name__}", halves, bounds, score, level)
            own = [own_intervals(fitted, new, bounds, level) for fitted, new in halves]
            print(f"{task} {level} {'shipped, by group':28}", cells(own), flush=True)
        print(f"{task} log loss of P(age >= t)", losses(halves, bounds), flush=True)


def judged_halves(data_dir: Path, task: str, seed: int) -> Halves:
    """Train once, and judge the people held out."""
    with tempfile.TemporaryDirectory() as folder:
        setup = fit(config_of(data_dir, recipes.shipped(task, dataset="wiki"), seed, folder)).setup
    valid, source = setup.valid_loader, getattr(setup.train_loader, "source", None)
    if valid is None or source is None:
        raise ValueError("nobody is held out")
    rows = KnownPeople.of(valid, valid.rows, source.faces).judged_by(setup.model)
    exact = JudgedRows(rows.probabilities.astype(np.float64), rows.labels, rows.people)
    fitted = np.isin(rows.people, np.unique(rows.people)[::2])
    return exact.part(fitted), exact.part(~fitted)


def print_means(
    name: str, halves: list[Halves], bounds: Floats, score: Score, level: float
) -> None:
    """Print one line: coverage, mean width in years, and coverage by true age."""
    found = [intervals(fitted, new, bounds, score, level) for fitted, new in halves]
    print(f"{name:40}", cells(found), flush=True)


def intervals(
    fitted: JudgedRows, new: JudgedRows, bounds: Floats, score: Score, level: float
) -> NDArray[np.float64]:
    """Return what `measured` does of the intervals of a score."""
    years = bounds.mean(axis=1, dtype=np.float64)
    of_fitted = score(fitted.probabilities.astype(np.float64), years, level)[
        np.arange(len(fitted.labels)), fitted.labels
    ]
    radius = radii_of(of_fitted, fitted)[LEVELS.index(level)]
    of_new = score(new.probabilities.astype(np.float64), years, level)
    inside = of_new <= (np.inf if radius is None else radius)
    inside[np.arange(len(inside)), of_new.argmin(1)] = True
    first, last = inside.argmax(1), inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
    return measured(bounds[first, 0], bounds[last, 1], new, bounds)


def own_intervals(fitted: JudgedRows, new: JudgedRows, bounds: Floats, level: float) -> Floats:
    """Return what `measured` does of the intervals that a checkpoint gives."""
    low, high = AgeConfidence.fit(fitted, bounds).intervals(new.probabilities, level=level).T
    return measured(low, high, new, bounds)


def measured(low: Floats, high: Floats, new: JudgedRows, bounds: Floats) -> Floats:
    """Return coverage, mean width and the coverage of each group of true ages."""
    first, last = bounds[new.labels].T
    held = (low <= first) & (last <= high)
    groups = np.digitize(first, AGE_STARTS)
    by_age = [held[groups == group].mean() for group in range(len(AGE_STARTS) + 1)]
    return np.array([held.mean(), (high - low + 1).mean(), *by_age])


def cells(found: list[Floats]) -> str:
    """Format means over seeds."""
    coverage, width, *by_age = np.mean(found, axis=0)
    ages = " ".join(f"{value:.2f}" for value in by_age)
    return f"coverage {coverage:.3f}  width {width:5.2f}  by true age {ages}"


def losses(halves: list[Halves], bounds: Floats) -> str:
    """Compare calibrations at the ages that no class straddles, on people not fitted on."""
    names, found = ("network", "Platt", "isotonic"), []
    for fitted, new in halves:
        by_class = over_by_class(bounds, THRESHOLDS)
        known = by_class[:, np.isin(by_class, (0, 1)).all(0)]
        thresholds = np.array(THRESHOLDS)[np.isin(by_class, (0, 1)).all(0)]
        raw, truth = new.probabilities @ known, known[new.labels]
        pooled = over_by_class(bounds, bounds[1:, 0])
        isotonic = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(
            (fitted.probabilities @ pooled).ravel(), pooled[fitted.labels].ravel()
        )
        platt = AgeConfidence.fit(fitted, bounds).over(new.probabilities, thresholds)
        for said in (raw, platt, isotonic.predict(raw.ravel()).reshape(raw.shape)):
            right = np.where(truth == 1, said, 1 - said)
            found.append(-np.log(np.maximum(right, 1e-4)).mean())
    means = np.reshape(found, (len(halves), len(names))).mean(0)
    return "  ".join(f"{name} {mean:.4f}" for name, mean in zip(names, means, strict=True))


if __name__ == "__main__":
    main()
