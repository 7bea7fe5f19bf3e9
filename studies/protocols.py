"""What a study is made of: tasks, protocols, and which of their results a command asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from utils.errors import ConfigError
from utils.text import nearest


@dataclass(frozen=True)
class StudyTask:
    """A task, and the metrics that it is judged by.

    Attributes:
        title: for the reader.
        num_classes: 2, 8 or 101.
        metrics: all, in the order of the report.
        headline: those in the table of all results.
        main: the one that the original project publishes.
    """

    title: str
    num_classes: int
    metrics: tuple[str, ...]
    headline: tuple[str, ...]
    main: str

    @property
    def compared(self) -> tuple[str, ...]:
        """The metrics by which it is compared with the baselines."""
        return (self.main, "mae") if "mae" in self.metrics else (self.main,)

    @property
    def group_metrics(self) -> tuple[str, ...]:
        """The metrics of the groups of gender and age; the last one ranks them."""
        return (self.main, "one_off_accuracy", "mae") if "mae" in self.metrics else (self.main,)


_AGE_METRICS = ("balanced_accuracy", "one_off_accuracy", "mae", "cs5", "brier", "ece")

TASKS = {
    "gender": StudyTask(
        title="Gender",
        num_classes=2,
        metrics=("accuracy", "balanced_accuracy", "brier", "ece"),
        headline=("accuracy",),
        main="accuracy",
    ),
    "age8": StudyTask(
        title="Age in 8 classes",
        num_classes=8,
        metrics=("accuracy", *_AGE_METRICS),
        headline=("accuracy", "one_off_accuracy", "mae"),
        main="accuracy",
    ),
    "age101": StudyTask(
        title="Age in 101 classes",
        num_classes=101,
        metrics=("accuracy", "accuracy_relaxed", *_AGE_METRICS),
        headline=("accuracy", "accuracy_relaxed", "mae"),
        main="accuracy_relaxed",
    ),
}
LOWER_IS_BETTER = {"mae", "brier", "ece"}

PROTOCOLS = {
    "a": "trained on IMDB+WIKI",
    "b": "trained on IMDB+WIKI+Adience",
    "c": "pre-trained on IMDB+WIKI, fine-tuned on Adience",
    "d": "trained on Adience from scratch",
}
BY_IMAGE = "by-image"


@dataclass(frozen=True)
class StudyPart:
    """One result of a study.

    Attributes:
        task: one of TASKS.
        protocol: one of PROTOCOLS.
        variant: "", or "by-image": validation rows are drawn by image, to show what that hides.
    """

    task: str
    protocol: str
    variant: str = ""

    @property
    def name(self) -> str:
        """Name of its files.

        >>> StudyPart("age8", "d", "by-image").name
        'age8-d-by-image'
        """
        return "-".join(filter(None, (self.task, self.protocol, self.variant)))

    @property
    def is_cross_validated(self) -> bool:
        """True where it is seeds x folds of Adience, False for trainings without a test fold."""
        return self.protocol in ("c", "d")


def select(words: Sequence[str]) -> list[StudyPart]:
    """List the parts that --only asks for, each after those that it needs.

    Args:
        words: tasks and protocols, each word one or several with commas between. No task means all
            tasks, no protocol all protocols. None at all: the whole study.

    Raises:
        ConfigError: a word is neither task nor protocol.

    >>> [part.name for part in select(["gender,c"])]
    ['gender-a', 'gender-c']
    >>> [part.name for part in select(["age8", "d"])]
    ['age8-d', 'age8-d-by-image']
    """
    known = (*TASKS, *PROTOCOLS)
    named = [word.strip() for text in words for word in text.split(",")]
    for word in named:
        if word not in known:
            raise ConfigError(f"--only {word}: no task or protocol, {nearest(word, known)}")
    tasks = [task for task in TASKS if task in named] or list(TASKS)
    protocols = {protocol for protocol in PROTOCOLS if protocol in named} or set(PROTOCOLS)
    if "c" in protocols:
        protocols.add("a")
    parts = [StudyPart(task, protocol) for protocol in sorted(protocols) for task in tasks]
    if StudyPart("age8", "d") in parts:
        parts.append(StudyPart("age8", "d", BY_IMAGE))
    return parts


@dataclass(frozen=True)
class PublishedFigure:
    """A result in the README of the original project, of July 2021 (at its commit 68f2f87).

    They are not of the models that it published in August 2021, by another recipe: of those
    `serving/registry.json` has the scores. arXiv 2108.08186 describes its network.

    Attributes:
        value: of the metric, on the split that the protocol is judged by.
        std: over its 25 runs; None where one run was published.
    """

    value: float
    std: float | None = None


PUBLISHED = {
    ("gender", "a", "accuracy"): PublishedFigure(0.8242),
    ("gender", "b", "accuracy"): PublishedFigure(0.8337),
    ("gender", "c", "accuracy"): PublishedFigure(0.9086, 0.0202),
    ("gender", "d", "accuracy"): PublishedFigure(0.8546, 0.0302),
    ("age8", "a", "accuracy"): PublishedFigure(0.5705),
    ("age8", "b", "accuracy"): PublishedFigure(0.5742),
    ("age8", "c", "accuracy"): PublishedFigure(0.6123, 0.0349),
    ("age8", "d", "accuracy"): PublishedFigure(0.5500, 0.0400),
    ("age101", "a", "accuracy"): PublishedFigure(0.1271),
    ("age101", "b", "accuracy"): PublishedFigure(0.1497),
    ("age101", "a", "accuracy_relaxed"): PublishedFigure(0.5443),
    ("age101", "b", "accuracy_relaxed"): PublishedFigure(0.5579),
    ("age101", "c", "accuracy_relaxed"): PublishedFigure(0.5358, 0.0387),
    ("age101", "d", "accuracy_relaxed"): PublishedFigure(0.5187, 0.0459),
}
"""By task, protocol and metric: validation for a and b, test for c and d."""
