"""What the age-gender server answers, as far as the client reads it."""

from collections.abc import Sized
from typing import Any

from pydantic import AliasPath, ConfigDict, Field

from serving.face_confidence import LEVEL
from serving.network_check import networks_of
from serving.schemas import EmbeddingsAnswer, FirstAndLastYear, Genders
from utils.problems import JsonObject

Extractor = dict[str, Any]


class Health(JsonObject):
    """What the server says of itself: its models and what they were trained with, its limit."""

    model_config = ConfigDict(extra="ignore")

    age_model: str = Field(validation_alias=AliasPath("models", "age", "name"))
    gender_model: str = Field(validation_alias=AliasPath("models", "gender", "name"))
    num_ages: int = Field(ge=2, validation_alias=AliasPath("models", "age", "num_classes"))
    age_extractor: Extractor = Field({}, validation_alias=AliasPath("models", "age", "extractor"))
    gender_extractor: Extractor = Field(
        {}, validation_alias=AliasPath("models", "gender", "extractor")
    )
    max_mc_samples: int | None = Field(None, validation_alias=AliasPath("limits", "max_mc_samples"))
    finds_faces: bool = Field(False, validation_alias=AliasPath("faces", "in_process"))

    @property
    def trained_on(self) -> dict[str, list[str]]:
        """The face networks that each model was trained on, by its name, as far as known."""
        return {
            self.age_model: networks_of(self.age_extractor),
            self.gender_model: networks_of(self.gender_extractor),
        }


class Estimates(EmbeddingsAnswer):
    """Ages in years and genders, one a face; uncertainty only where it was asked for.

    Servers of before 2026 know nothing of levels.
    """

    level: float = LEVEL
    age_intervals: list[FirstAndLastYear | None] = Field(default_factory=list)
    gender_sets: list[Genders | None] = Field(default_factory=list)
    covered: list[bool | None] = Field(default_factory=list)

    def problem(self, num_faces: int, with_uncertainty: bool) -> str:
        """Return which list is not one entry a face; "" if all are."""
        lists: dict[str, Sized] = {
            "ages": self.ages,
            "genders": self.genders,
            "in_distribution": self.in_distribution,
        }
        if with_uncertainty:
            lists["uncertainty"] = self.uncertainty or ()
        for name, entries in lists.items():
            if len(entries) != num_faces:
                return f"{len(entries)} {name} for {num_faces} faces"
        return ""
