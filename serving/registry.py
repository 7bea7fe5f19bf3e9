"""Models that are published: where their files are, what made them, and what they need.

`registry.json` lists them. To add some, add an entry of the form of `PublishedModels`.
"""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from http_client.download import KnownFile
from utils.errors import UserError
from utils.files import read_json
from utils.problems import JsonObject, read_object
from utils.text import nearest, shown

MAX_FILE_BYTES = 2**30
"""Of a model; the networks here are small."""

_REGISTRY = Path(__file__).with_name("registry.json")

Served = Literal["age", "gender"]
"""What a model says of a face."""

Text = Annotated[str, Field(min_length=1, pattern=r"^[^\r\n]+$")]


class PublishedFile(JsonObject):
    """A file of a model on the web; the fields are those of `KnownFile`."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+/\S+\.[a-z]+$")]
    size: Annotated[int, Field(ge=1, le=MAX_FILE_BYTES)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @property
    def known(self) -> KnownFile:
        """The same for a download."""
        return KnownFile(self.url, self.size, self.sha256)


class ReportedScore(JsonObject):
    """A score that the publisher reports.

    Attributes:
        task: what was predicted.
        metric: as in results of studies; "accuracy" is a fraction, "mae" is in years.
        on: which data.
    """

    task: Served
    metric: Literal["accuracy", "mae"]
    value: Annotated[float, Field(ge=0, le=100)]
    on: Text

    def __str__(self) -> str:
        is_fraction = self.metric == "accuracy"
        value = f"{100 * self.value:.1f} %" if is_fraction else f"{self.value:.2f} years"
        return f"{self.task} {self.metric} {value} ({self.on})"


class EmbeddingSource(JsonObject):
    """What made embeddings, in the form of `extractor.json`.

    Attributes:
        server: image of a face server.
        model: its face network.
        resize: side in pixels of the square that was sent; None for images sent as they are.
        jpeg_quality: of the square.
    """

    server: Text
    model: Text
    resize: Annotated[int, Field(ge=1)] | None
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] | None


class PublishedModels(JsonObject):
    """Models that go together.

    Attributes:
        description: a few words.
        files: of each model.
        licence: on which terms they may be used.
        trained_on: names of data sets.
        extractor: what made the embeddings they were trained on.
        face_server: command that starts its server on port 10002.
        scores: as the publisher reports them.
        source: where the publisher reports them.
    """

    description: Text
    files: Annotated[dict[Served, PublishedFile], Field(min_length=1)]
    licence: Text
    trained_on: Annotated[list[Text], Field(min_length=1)]
    extractor: EmbeddingSource
    face_server: Text
    scores: list[ReportedScore]
    source: Text


class _Registry(JsonObject):
    models: dict[str, PublishedModels]


@cache
def published_models() -> dict[str, PublishedModels]:
    """Read the models that can be downloaded, by their names.

    Raises:
        ConfigError: the registry has an entry of another form.
    """
    return read_object(_Registry, {"models": read_json(_REGISTRY)}, str(_REGISTRY)).models


def find_published(name: str) -> PublishedModels:
    """Return the published models of a name.

    Raises:
        UserError: there are none.
    """
    known = published_models()
    if not isinstance(name, str) or name not in known:
        raise UserError(f"{shown(name)} is no published model, {nearest(str(name), known)}")
    return known[name]


def extractor_of(sha256: str) -> dict[str, Any]:
    """Return what made the embeddings that a published file was trained on, by data set.

    Args:
        sha256: of the file, in hexadecimal.

    Returns:
        what a checkpoint of ours holds as "extractor"; empty for files that nobody published.
    """
    for models in published_models().values():
        if sha256 in (file.sha256 for file in models.files.values()):
            return dict.fromkeys(models.trained_on, models.extractor.model_dump())
    return {}
