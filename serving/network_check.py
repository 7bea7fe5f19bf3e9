"""By its name: is the network that finds faces the one that the models were trained on?"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from utils.log import get_logger

logger = get_logger("server")


def networks_of(extractor: Mapping[str, Any]) -> list[str]:
    """List the face networks that a checkpoint records, sorted.

    Args:
        extractor: what made the embeddings that it was trained on, by data set.

    >>> networks_of({"imdb": {"server": "a", "model": "buffalo_l"}, "wiki": {"server": "b"}})
    ['buffalo_l']
    """
    records = [one for one in extractor.values() if isinstance(one, dict)]
    return sorted({str(one["model"]) for one in records if "model" in one})


def mismatch(model: str | None, trained_on: Mapping[str, Sequence[str]]) -> str | None:
    """Return a line if faces come from another network; None where nothing says so.

    Args:
        model: name of the network that faces come from, if it is told.
        trained_on: models to the names of the networks they were trained on, which may be unknown.

    >>> mismatch("tiny", {"age.pth": ["buffalo_l"], "gender.pth": []})
    "faces come from the network 'tiny', and age.pth was trained with 'buffalo_l'"
    >>> mismatch("tiny", {"age.pth": ["tiny"]}), mismatch(None, {"age.pth": ["tiny"]})
    (None, None)
    """
    if model is None:
        return None
    for name, networks in trained_on.items():
        if networks and model not in networks:
            known = " and ".join(map(repr, networks))
            return f"faces come from the network {model!r}, and {name} was trained with {known}"
    return None


class NetworkCheck:
    """Compares the network that faces come from with those that the models were trained on.

    Attributes:
        model: its name, as far as it is known.
        warning: what is wrong, in one line; None if nothing is.

    Args:
        trained_on: as of `mismatch`.
    """

    def __init__(self, trained_on: Mapping[str, Sequence[str]]) -> None:
        self._trained_on = trained_on
        self._lock = threading.Lock()
        self.model: str | None = None
        self.warning: str | None = None

    def note(self, model: str | None) -> None:
        """Take note of the network of some faces; one that is wrong gives a line in the log."""
        with self._lock:
            if model == self.model:
                return
            self.model, self.warning = model, mismatch(model, self._trained_on)
        if self.warning:
            logger.warning(f"{self.warning}: their ages and genders cannot be trusted")
