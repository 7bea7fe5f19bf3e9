"""Models as ONNX files, for programs without torch.

A file maps embeddings to what the server says of them without dropout, and is compared with torch
before it is written. What else a program needs to know of the model stands in its metadata.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from faces.out_of_distribution import OutOfDistributionDetector
from model.inference import FoldedNet
from model.model import ResMLP
from serving.checkpoints import age_classes_in, load_net, served_arguments
from serving.onnx_graph import AGE, INPUT, PROBABILITIES, SCORE, OnnxGraph
from serving.openapi import VERSION
from utils.checkpoint import Checkpoint
from utils.errors import CheckpointError, UserError
from utils.labels import EMBEDDING_SIZE, GENDERS, AgeClasses, class_bounds, class_years
from utils.log import get_logger
from utils.optional_packages import EXPORT_REQUIREMENTS, optional_package

MAX_BYTES = 2_000_000_000
"""Of weights: a file of protobuf ends at 2 GiB."""

TOLERANCE = 1e-5
"""How far an answer may be from torch's; where that is above 1, as a share of it."""
NUM_COMPARED = 64


@dataclass(frozen=True)
class OnnxSource:
    """What an ONNX file is made from.

    Attributes:
        path: of the file to write.
        arguments: of each network.
        nets: the networks, of an ensemble several, in eval mode.
        classes: of ages; None for genders.
        detector: recognises embeddings of another network; None for models without statistics.
        extractor: what made the embeddings trained on, by data set.
        confidence: how sure the answers are, as in a checkpoint; None where it is not known.
    """

    path: Path
    arguments: list[dict[str, Any]]
    nets: list[ResMLP]
    classes: AgeClasses | None
    detector: OutOfDistributionDetector | None
    extractor: dict[str, Any]
    confidence: dict[str, Any] | None

    @property
    def years(self) -> NDArray[np.float32] | None:
        """What the age classes stand for, (C,); None for genders."""
        return None if self.classes is None else class_years(self.classes)

    @torch.no_grad()
    def answers(self, embeddings: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Return what the file is to say of embeddings (N, 512), by torch: outputs to (N, ...)."""
        x = torch.from_numpy(embeddings)
        mean = torch.stack([net(x).softmax(1) for net in self.nets]).mean(0)
        answers = {PROBABILITIES: mean.numpy()}
        if self.years is not None:
            answers[AGE] = (mean @ torch.from_numpy(self.years)).numpy()
        if self.detector is not None:
            answers[SCORE] = self.detector.scores(embeddings)
        return answers

    @property
    def metadata(self) -> dict[str, str]:
        """What a program may want to know of the model beside its answers: JSON by name."""
        content: dict[str, Any] = {
            "version": VERSION,
            "classes": list(GENDERS) if self.years is None else self.years.tolist(),
            "arch": self.arguments,
            "extractor": self.extractor,
        }
        if self.classes is not None:
            content["class_bounds"] = class_bounds(self.classes).tolist()
        if self.detector is not None:
            content["out_of_distribution"] = self.detector.describe()
        if self.confidence is not None:
            content["confidence"] = self.confidence
        return {name: json.dumps(value) for name, value in content.items()}


def source_of(members: Sequence[Checkpoint], shared: dict[str, Any], path: Path) -> OnnxSource:
    """Build the networks of checkpoints of one task.

    Args:
        members: one, or those of an ensemble.
        shared: "embeddings", "extractor" and "confidence", as in a checkpoint.
        path: of the file to write.

    Raises:
        CheckpointError: the server could not serve them, or they are too large for a file.
    """
    num_bytes = sum(weight.nbytes for one in members for weight in one.state_dict.values())
    if num_bytes > MAX_BYTES:
        raise CheckpointError(
            f"{path}: the weights are {num_bytes:,} bytes, an ONNX file holds at most "
            f"{MAX_BYTES:,}; write .safetensors, or fewer models"
        )
    classes = age_classes_in(members[0])
    kind = "gender" if classes is None else "age"
    arguments = [served_arguments(kind, member) for member in members]
    cpu = torch.device("cpu")
    return OnnxSource(
        path=path,
        arguments=arguments,
        nets=[load_net(*pair, cpu) for pair in zip(members, arguments, strict=True)],
        classes=classes,
        detector=OutOfDistributionDetector.from_checkpoint(shared),
        extractor=shared.get("extractor") or {},
        confidence=shared.get("confidence"),
    )


def onnx_bytes(source: OnnxSource) -> bytes:
    """Return the content of an ONNX file.

    Raises:
        CheckpointError: onnxruntime is installed, and its answers are not those of torch.
        UserError: onnx is not installed.
    """
    graph = OnnxGraph(optional_package("onnx", f"to write {source.path}", EXPORT_REQUIREMENTS))
    graph.add_networks([FoldedNet(n) for n in source.nets], source.arguments[0]["num_classes"])
    if source.years is not None:
        graph.add_age(source.years)
    if source.detector is not None:
        graph.add_detector(source.detector)
    content: bytes = graph.finish(VERSION, source.metadata).SerializeToString()
    _compare(content, source)
    return content


def _compare(content: bytes, source: OnnxSource) -> None:
    """Compare the answers of onnxruntime to random embeddings with those of torch."""
    try:
        library = optional_package("onnxruntime", "to compare it with torch", EXPORT_REQUIREMENTS)
    except UserError as missing:
        get_logger("export").warning(f"{source.path} is not compared with torch: {missing}")
        return
    rows = np.random.default_rng(0).standard_normal((NUM_COMPARED, EMBEDDING_SIZE), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    expected = source.answers(rows)
    session = library.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers = dict(zip(expected, session.run(list(expected), {INPUT: rows}), strict=True))
    for name, values in expected.items():
        difference = np.max(np.abs(answers[name] - values) / np.maximum(1, np.abs(values)))
        if not difference <= TOLERANCE:
            raise CheckpointError(
                f"{source.path} is not written: its {name} would be {difference:.1e} away from "
                f"torch's, at most {TOLERANCE} was expected"
            )
