"""What bodies and answers hold, as types, of which GET /openapi.json is made.

The answers themselves are written without them; tests hold them against the schemas.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from confidence.error_rates import ThresholdErrors
from utils.labels import EMBEDDING_SIZE
from utils.problems import JsonObject

SMALLEST_PICTURE = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""A GIF of one pixel in base64."""

EXAMPLE: dict[str, Any] = {
    "ages": [31.4],
    "genders": [{"m": 0.93, "f": 0.07}],
    "in_distribution": [True],
    "level": 0.9,
    "age_intervals": [[24, 39]],
    "gender_sets": [["m"]],
    "covered": [True],
    "over": [{"18": 0.97, "25": 0.81}],
}
"""Of an answer to POST /?over=18,25."""

EXAMPLE_FACE: dict[str, Any] = {
    "bbox": [402.1, 120.9, 611.0, 398.2],
    "det_score": 0.88,
    "age": 31.4,
    "gender": {"m": 0.93, "f": 0.07},
    "uncertainty": {"age": 3.1, "gender": 0.25},
    "in_distribution": True,
    "age_interval": [24, 39],
    "gender_set": ["m"],
    "covered": True,
    "over": None,
}

ABSENT: Any = Field(default_factory=lambda: None)
"""Of what may be left out, and is never null."""

Count = Annotated[int, Field(ge=0)]
Vector = Annotated[list[float], Field(min_length=EMBEDDING_SIZE, max_length=EMBEDDING_SIZE)]
FirstAndLastYear = Annotated[Sequence[int], Field(min_length=2, max_length=2)]
Genders = Annotated[Sequence[Literal["m", "f"]], Field(min_length=1, max_length=2)]
Over = dict[str, Annotated[float, Field(ge=0, le=1)]]
OnePicture = str | Annotated[list[str], Field(min_length=1, max_length=1)]


class _Described(JsonObject):
    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)


class EmbeddingsBody(_Described):
    """Faces to describe."""

    embeddings: list[Vector] | Vector
    """unit vectors of an ArcFace network, one a face; a bare vector is one face"""


class PictureBody(_Described):
    """A picture in base64, as clients of deepface's server send it; other keys are ignored."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["img"]}, {"required": ["img_path"]}],
            "examples": [{"img": f"data:image/gif;base64,{SMALLEST_PICTURE}"}],
        }
    )

    img: OnePicture | SkipJsonSchema[None] = ABSENT
    """the file in base64, alone or as data:image/jpeg;base64,..."""
    img_path: OnePicture | SkipJsonSchema[None] = ABSENT
    """the same under the other name that deepface has for it; never a path"""


class GenderAnswer(_Described):
    """Probabilities of male and female."""

    m: float
    f: float


class GenderAnswerOf2022(GenderAnswer):
    """Probabilities of male and female, and their entropy."""

    entropy: float


class AgeAnswerOf2022(_Described):
    """The expected age in years, and the entropy of the age classes."""

    mean: float
    entropy: float


class NatsAnswer(_Described):
    """Of both models, in nats."""

    age: float
    gender: float


class MutualInformationAnswer(_Described):
    """How much the members of an ensemble disagree, in nats; only of a model that is one."""

    age: float | SkipJsonSchema[None] = ABSENT
    gender: float | SkipJsonSchema[None] = ABSENT


class UncertaintyAnswer(NatsAnswer):
    """Entropies of the mean prediction, in nats."""

    mutual_information: MutualInformationAnswer | SkipJsonSchema[None] = ABSENT


class EmbeddingsAnswer(_Described):
    """Ages and genders, one entry a face, in the order of the embeddings."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    ages: list[float]
    """in years"""
    genders: list[GenderAnswer]
    uncertainty: list[UncertaintyAnswer] | SkipJsonSchema[None] = ABSENT
    """with mc_samples, and always of ensembles"""
    in_distribution: list[bool | None]
    """whether a vector is of the network that the models were trained on; null if unknown"""
    level: float
    """share of new people whose interval, and whose set, is to hold the truth"""
    age_intervals: list[FirstAndLastYear | None]
    """first and last year; null if the models cannot tell"""
    gender_sets: list[Genders | None]
    """the genders that it may be; null if the models cannot tell"""
    covered: list[bool | None]
    """whether the level holds for such faces; null if unknown, or if nothing is promised"""
    over: list[Over | None] | SkipJsonSchema[None] = ABSENT
    """with over: how probably somebody is at least so old; no decision about a person by this
    alone; null if the models cannot tell"""


class EmbeddingsAnswerOf2022(_Described):
    """The same in the form of the original project of 2022, with answer=2022."""

    ages: list[AgeAnswerOf2022]
    genders: list[GenderAnswerOf2022]
    in_distribution: list[bool | None]


class DescribedFace(_Described):
    """A face of a picture."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_FACE]})

    bbox: tuple[float, float, float, float]
    """x1, y1, x2, y2 in pixels of the upright picture"""
    det_score: float
    """how sure the detector is, 0 to 1"""
    age: float
    """in years"""
    gender: GenderAnswer
    uncertainty: UncertaintyAnswer
    in_distribution: bool | None
    """whether the face's vector is of the network that the models were trained on"""
    age_interval: FirstAndLastYear | None
    """null if the models cannot tell"""
    gender_set: Genders | None
    """the genders that it may be; null if the models cannot tell"""
    covered: bool | None
    """whether the level holds for such faces; null if unknown, or if nothing is promised"""
    over: Over | None
    """how probably somebody is at least so old; no decision about a person by this alone; null
    without over, or if the models cannot tell"""


class PictureAnswer(_Described):
    """The faces of a picture, from left to right."""

    width: Count
    height: Count
    level: float
    """share of new people whose interval, and whose set, is to hold the truth"""
    faces: list[DescribedFace]
    max_uncertainty: NatsAnswer
    """what uncertainty is when all classes are as likely"""
    model: str | None
    """the face network, if its server names it"""


class FoundFace(_Described):
    """A face as face servers answer it; numbers are arrays in jsonpickle's encoding."""

    bbox: Any
    det_score: Any
    landmark: Any
    normed_embedding: Any


class FoundFacesAnswer(_Described):
    """The faces of a picture, as face servers answer them."""

    face_detection_recognition: list[FoundFace] | None
    """null for a picture that cannot be used"""
    model: str | SkipJsonSchema[None] = ABSENT
    """the face network, if it is known"""


class NetworkCheckAnswer(_Described):
    """How embeddings of another network are recognised."""

    method: str
    threshold: float
    num_rows: Count


class ConfidenceAnswer(_Described):
    """Whom intervals and sets were fitted to: people whom the model was not trained on."""

    num_faces: Count
    num_people: Count
    lowest_det_score: float | None
    """below it, faces are not covered; null if unknown"""


class ModelAnswer(_Described):
    """A model that is loaded."""

    name: str
    version: str
    """first digits of its file's SHA-256"""
    num_members: Annotated[int, Field(ge=1)]
    """more than one for an ensemble"""
    num_classes: Annotated[int, Field(ge=2)]
    age_groups: list[list[int]] | None
    """first and last year of each class; null for whole years, and for genders"""
    network_check: NetworkCheckAnswer | None
    extractor: dict[str, Any]
    """what made the embeddings it was trained on, by data set"""
    confidence: ConfidenceAnswer | None
    """null for a model that gives no intervals or sets"""


class ModelsAnswer(_Described):
    """Both models."""

    age: ModelAnswer
    gender: ModelAnswer


class LimitsAnswer(_Described):
    """The largest that is taken."""

    max_body_bytes: Count
    max_faces: Count
    max_mc_samples: Count
    max_mc_passes: Count
    """faces x passes"""


class FaceSourceAnswer(_Described):
    """What finds the faces of pictures."""

    in_process: bool
    """whether the networks of a face pack do it here"""
    model: str | None
    """the face network, as far as it is known"""
    device: str | None
    """where it runs, in this process"""
    warning: str | None
    """why the ages and genders of faces cannot be trusted"""


class HealthAnswer(_Described):
    """What is loaded, once it has answered a dummy vector."""

    status: Literal["ok"]
    models: ModelsAnswer
    device: str
    limits: LimitsAnswer
    face_server_url: str | None
    """null with a face pack"""
    faces: FaceSourceAnswer


class ErrorRatesAnswer(_Described):
    """How often the age model is wrong about who is at least of an age, on people unknown to it."""

    error_rates: list[ThresholdErrors]
    """by age; empty if the checkpoint has none"""


class ErrorAnswer(_Described):
    """What was wrong and what was expected, in one line."""

    error: str


def schema_of(model: type[JsonObject]) -> dict[str, Any]:
    """Return the reference to a type that stands among the components."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}
