"""The results of a study: tasks, protocols, and which of them a command asks for."""

from collections.abc import Sequence
from dataclasses import dataclass

from utils.errors import ConfigError
from utils.problems import nearest

TASKS = ("gender", "age8", "age101")
PROTOCOLS = {
    "a": "trained on IMDB+WIKI",
    "b": "trained on IMDB+WIKI+Adience",
    "c": "pre-trained on IMDB+WIKI, fine-tuned on Adience",
    "d": "trained on Adience from scratch",
}
BY_IMAGE = "by-image"


@dataclass(frozen=True)
class Part:
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
        """Name its files.

        >>> Part("age8", "d", "by-image").name
        'age8-d-by-image'
        """
        return "-".join(filter(None, (self.task, self.protocol, self.variant)))

    @property
    def is_cross_validated(self) -> bool:
        """True where it is seeds x folds of Adience, False for trainings without a test fold."""
        return self.protocol in ("c", "d")


def select(words: Sequence[str]) -> list[Part]:
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
    named = [word.strip() for text in words for word in text.split(",")]
    for word in named:
        if word not in (*TASKS, *PROTOCOLS):
            known = (*TASKS, *PROTOCOLS)
            raise ConfigError(f"--only {word}: no task or protocol, {nearest(word, known)}")
    tasks = [task for task in TASKS if task in named] or list(TASKS)
    protocols = {protocol for protocol in PROTOCOLS if protocol in named} or set(PROTOCOLS)
    if "c" in protocols:
        protocols.add("a")
    parts = [Part(task, protocol) for protocol in sorted(protocols) for task in tasks]
    if Part("age8", "d") in parts:
        parts.append(Part("age8", "d", BY_IMAGE))
    return parts
