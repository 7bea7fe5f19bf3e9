"""Model files read and checked, and the pair of models that a server answers with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from base.device import choose_device, choose_precision
from confidence.reading import Confidence
from faces.out_of_distribution import OutOfDistributionDetector
from model.inference import FoldedNet
from model.mc_dropout import SampledNet
from serving.checkpoints import (
    age_classes_in,
    confidence_of,
    detector_of,
    load_known_members,
    load_net,
    served_arguments,
)
from serving.face_confidence import PairConfidence
from serving.network_check import networks_of
from utils.errors import CheckpointError, ConfigError
from utils.files import sha256_of
from utils.labels import AgeClasses, class_bounds, class_years


@dataclass(frozen=True)
class ServedModel:
    """A trained network, ready for use.

    Attributes:
        path: of its file.
        version: first digits of the file's SHA-256.
        nets: the networks, of an ensemble several: each maps (N, 512) to logits (N, C), as in eval
            mode.
        sampled: the same with dropout on.
        num_classes: C.
        classes: the age classes; None for genders.
        detector: recognises embeddings of another network; None for models without statistics.
        extractor: what made the embeddings it was trained on, by data set, where that is known.
        confidence: how sure its answers are; None where that is not known.
    """

    path: Path
    version: str
    nets: tuple[FoldedNet, ...]
    sampled: tuple[SampledNet, ...]
    num_classes: int
    classes: AgeClasses | None
    detector: OutOfDistributionDetector | None
    extractor: dict[str, Any]
    confidence: Confidence | None

    def describe(self) -> dict[str, Any]:
        """Return which model it is, for GET /health."""
        return {
            "name": self.path.name,
            "version": self.version,
            "num_members": len(self.nets),
            "num_classes": self.num_classes,
            "age_groups": self._age_groups(),
            "network_check": None if self.detector is None else self.detector.describe(),
            "extractor": self.extractor,
            "confidence": self.confidence and self.confidence.describe(),
        }

    def _age_groups(self) -> list[list[int]] | None:
        """Return first and last year of each class; None for single years and for genders."""
        if self.classes in (None, 101):
            return None
        groups: list[list[int]] = class_bounds(self.classes).astype(np.int64).tolist()
        return groups


@dataclass(frozen=True)
class ModelPair:
    """An age model, and a gender model.

    Attributes:
        years: (C,) float32, what the age classes stand for.
        device: where both run.
        detectors: those of the two models; one where they are the same, as after the same data.
        confidence: of both.
    """

    age: ServedModel
    gender: ServedModel
    years: NDArray[np.float32]
    device: torch.device
    detectors: tuple[OutOfDistributionDetector, ...]
    confidence: PairConfidence

    def describe(self) -> dict[str, Any]:
        """Return which models they are, for GET /health."""
        return {"age": self.age.describe(), "gender": self.gender.describe()}

    def trained_on(self) -> dict[str, list[str]]:
        """Return the names of the face networks that each model was trained on, as far as known."""
        return {model.path.name: networks_of(model.extractor) for model in (self.age, self.gender)}

    def is_in_distribution(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_] | None:
        """Return which of (N, 512) vectors both models know the network of.

        Returns:
            (N,) bool; None where neither model can tell.
        """
        if not self.detectors:
            return None
        of_each = [detector.is_in_distribution(embeddings) for detector in self.detectors]
        of_both: NDArray[np.bool_] = np.logical_and.reduce(of_each)
        return of_both


def choose_served_device(name: str) -> torch.device:
    """Return the device that "auto", "cpu" or "cuda" stands for.

    Raises:
        ConfigError: a GPU is asked for, and there is none.
    """
    device, _ = choose_device(0 if name == "cpu" else 1)
    if name == "cuda" and device.type != "cuda":
        raise ConfigError(
            "device (--device, DEVICE) is cuda, but torch finds no GPU; take auto or cpu"
        )
    return device


def choose_mc_dtype(name: str, device: torch.device) -> torch.dtype:
    """Choose the precision of passes with dropout; "auto" is bfloat16 where the device has it."""
    if name == "auto":
        fast = choose_precision(True, device).dtype
        return fast if fast is torch.bfloat16 else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def load_pair(
    age_path: Path | str, gender_path: Path | str, device: torch.device, mc_dtype: torch.dtype
) -> ModelPair:
    """Load both models.

    Args:
        age_path: a checkpoint of ours or of the original project; or weights alone (a state_dict),
            with the config beside them as <name>.json.
        gender_path: the same.
        device: where they run.
        mc_dtype: of the passes with dropout.

    Raises:
        CheckpointError: a file is missing, damaged or foreign, or has the wrong number of classes.
        ConfigError: the config beside weights is damaged, or of another network.
    """
    age = load_model("age", Path(age_path), device, mc_dtype)
    gender = load_model("gender", Path(gender_path), device, mc_dtype)
    years = class_years(age.classes or age.num_classes)
    detectors = [model.detector for model in (age, gender) if model.detector is not None]
    if len({detector.directions.tobytes() for detector in detectors}) == 1:
        detectors = detectors[:1]
    confidence = PairConfidence.of(age.confidence, gender.confidence)
    return ModelPair(age, gender, years, device, tuple(detectors), confidence)


def load_model(kind: str, path: Path, device: torch.device, mc_dtype: torch.dtype) -> ServedModel:
    """Load the model for "age" or "gender".

    Raises:
        CheckpointError, ConfigError: as in `load_pair`.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no {kind} model there. Name its file (--{kind}-model), or make it: "
            f"python train.py --task {'age101' if kind == 'age' else kind}, then python3 -c "
            f"\"from utils.scripts import export_model; export_model('<checkpoint>', '{path}')\"; "
            f"or download the original project's published {kind}.pth, for faces of its own "
            "container: python3 -c \"from utils.scripts import get_models; get_models('original')\""
        )
    members = load_known_members(path)
    arguments = [served_arguments(kind, member) for member in members]
    first, *others = [age_classes_in(member) for member in members]
    if any(classes != first for classes in others):
        raise CheckpointError(f"{path}: its models have different classes")
    nets = [load_net(*pair, device) for pair in zip(members, arguments, strict=True)]
    return ServedModel(
        path=path,
        version=sha256_of(path)[:12],
        nets=tuple(FoldedNet(net) for net in nets),
        sampled=tuple(SampledNet(net, mc_dtype) for net in nets),
        num_classes=arguments[0]["num_classes"],
        classes=first,
        detector=detector_of(members[0]),
        extractor=members[0].content.get("extractor") or {},
        confidence=confidence_of(members[0]),
    )
