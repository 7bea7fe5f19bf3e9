"""Confidence as a checkpoint keeps it: plain values under one key, checked when they are read."""

from typing import Annotated, Any, Self

from pydantic import Field

from utils.errors import CheckpointError
from utils.problems import JsonObject, problems_in

KEY = "confidence"
"""Of a checkpoint."""


class StoredConfidence(JsonObject):
    """What a checkpoint holds under KEY, of an age or of a gender model.

    Attributes:
        num_faces: that it was fitted on.
        num_people: on them.
        lowest_det_score: how sure the detector was of all but 1 % of these faces; None where
            that is not known.
    """

    num_faces: Annotated[int, Field(ge=1)]
    num_people: Annotated[int, Field(ge=1)]
    lowest_det_score: Annotated[float, Field(ge=0, le=1)] | None = None

    @classmethod
    def from_checkpoint(cls, content: dict[str, Any]) -> Self | None:
        """Read it from a checkpoint's dict; None where it holds none.

        Raises:
            CheckpointError: it is not what this program writes.
        """
        plain = content.get(KEY)
        if plain is None:
            return None
        for problem in problems_in(cls, plain, f"{KEY}."):
            raise CheckpointError(f"the checkpoint is damaged or of another version: {problem}")
        return cls.model_validate(plain)

    def describe(self) -> dict[str, Any]:
        """Return what it was fitted on."""
        return {name: getattr(self, name) for name in StoredConfidence.model_fields}

    def to_plain(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: numbers, strings, lists and dicts, equal through JSON."""
        return self.model_dump()
