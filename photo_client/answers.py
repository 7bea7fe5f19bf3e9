"""What the age-gender server answers, as far as the client reads it."""

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import AliasPath, ConfigDict, Field

from serving.face_confidence import DEFAULT_QUERY, LEVEL, ConfidenceQuery
from serving.network_check import networks_of
from serving.schemas import EmbeddingsAnswer, FirstAndLastYear, Genders
from utils.problems import JsonObject

Extractor = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of each face, beside age and gender.

    Attributes:
        mc_samples: passes with dropout, whose mean is the answer; 0 for one pass without, which
            says the same each time.
        confidence: what is to be said of how sure the answer is.
    """

    mc_samples: int = 0
    confidence: ConfidenceQuery = DEFAULT_QUERY

    @property
    def query(self) -> str:
        """What follows the address: what is not the default, which older servers do not know.

        >>> Wanted(8, ConfidenceQuery(0.95, (18, 25))).query, Wanted().query
        ('?mc_samples=8&level=0.95&over=18,25', '')
        """
        level, ages = self.confidence.level, self.confidence.over
        given = {
            "mc_samples": self.mc_samples,
            "level": 0 if level == LEVEL else level,
            "over": ",".join(map(str, ages)),
        }
        query = urlencode({name: value for name, value in given.items() if value}, safe=",")
        return query and f"?{query}"


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
    age_lowest_det_score: float | None = Field(
        None, validation_alias=AliasPath("models", "age", "confidence", "lowest_det_score")
    )
    gender_lowest_det_score: float | None = Field(
        None, validation_alias=AliasPath("models", "gender", "confidence", "lowest_det_score")
    )
    max_mc_samples: int | None = Field(None, validation_alias=AliasPath("limits", "max_mc_samples"))
    finds_faces: bool = Field(False, validation_alias=AliasPath("faces", "in_process"))

    @property
    def lowest_det_score(self) -> float:
        """How sure the detector was of the faces that ranges were measured on; 0 if unknown."""
        return max(self.age_lowest_det_score or 0.0, self.gender_lowest_det_score or 0.0)

    @property
    def trained_on(self) -> dict[str, list[str]]:
        """The face networks that each model was trained on, by its name, as far as known."""
        return {
            self.age_model: networks_of(self.age_extractor),
            self.gender_model: networks_of(self.gender_extractor),
        }


class Estimates(EmbeddingsAnswer):
    """Ages in years and genders, one a face.

    Uncertainty and `over` are there where they were asked for. Older servers know nothing of levels
    and ranges: then these lists are empty.
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
        for name in ("age_intervals", "gender_sets", "over", "covered"):
            if entries := getattr(self, name):
                lists[name] = entries
        for name, entries in lists.items():
            if len(entries) != num_faces:
                return f"{len(entries)} {name} for {num_faces} faces"
        return ""
