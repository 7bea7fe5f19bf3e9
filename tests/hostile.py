"""Checkpoints that somebody made up: small files that ask for much, or hold what cannot be."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from serving_helpers import config_of, network

Content = dict[str, Any]


def content_of(num_classes: int = 101, **changes: Any) -> Content:
    """Return the content of a checkpoint that is right, but for the changes."""
    net = network(num_classes)
    return {"config": config_of(num_classes), "state_dict": net.state_dict(), **changes}


def with_arch(**arguments: Any) -> Content:
    return content_of(config=config_of(**arguments))


def with_weight(change: Callable[[torch.Tensor], Any], name: str = "blocks.0.linear.weight") -> Any:
    weights = dict(network().state_dict())
    weights[name] = change(weights[name])
    return content_of(state_dict=weights)


def nested(depth: int) -> Content:
    """Nest ensembles of two in each other, each twice the same: 2 ** depth networks."""
    inner = content_of()
    for _ in range(depth):
        inner = {**content_of(state_dict={}), "members": [inner, inner]}
    return inner


def shared(num_names: int) -> Content:
    """Make one matrix the weights of many layers."""
    one, norm = torch.zeros(512, 512), dict(network().state_dict())
    weights = {}
    for layer in range(num_names):
        for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            for which in ("norm_layer1", "norm_layer2"):
                weights[f"blocks.{layer}.{which}.{part}"] = norm[f"blocks.0.norm_layer.{part}"]
        for which in ("linear1", "linear2"):
            weights[f"blocks.{layer}.{which}.weight"] = one
            weights[f"blocks.{layer}.{which}.bias"] = one[0]
    return content_of(state_dict=weights, config=config_of(num_residuals_per_block=num_names))


CONTENTS: dict[str, Callable[[], Content]] = {
    "a million residuals": lambda: with_arch(num_residuals_per_block=10**6),
    "a billion residuals": lambda: with_arch(num_residuals_per_block=10**9),
    "3,000 residuals": lambda: with_arch(num_residuals_per_block=3000),
    "a million blocks": lambda: with_arch(num_blocks=10**6),
    "a billion blocks of giant features": lambda: with_arch(
        num_blocks=10**9, num_initial_features=10**300
    ),
    "ten million features": lambda: with_arch(num_initial_features=10**7),
    "a billion classes": lambda: with_arch(num_classes=10**9),
    "features that are text": lambda: with_arch(num_initial_features="512"),
    "blocks that are true": lambda: with_arch(num_blocks=True),
    "residuals that are a fraction": lambda: with_arch(num_residuals_per_block=0.5),
    "dropout that is a list": lambda: with_arch(dropout=[0.1]),
    "complex weights": lambda: with_weight(lambda w: w.to(torch.complex64)),
    "whole weights": lambda: with_weight(lambda w: w.to(torch.int32)),
    "weights of true and false": lambda: with_weight(lambda w: w > 0),
    "a count of batches that is a fraction": lambda: with_weight(
        lambda w: w.float(), "blocks.0.norm_layer.num_batches_tracked"
    ),
    "sparse weights": lambda: with_weight(lambda w: w.to_sparse()),
    "quantized weights": lambda: with_weight(
        lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8)
    ),
    "weights of another shape": lambda: with_weight(lambda w: w[:, :256].clone()),
    "weights without a shape": lambda: with_weight(lambda w: w.sum()),
    "weights that are nowhere": lambda: with_weight(lambda w: w.to("meta")),
    "weights of one number": lambda: with_weight(lambda w: w[:1, :1].clone().expand(w.shape)),
    "NaN weights": lambda: with_weight(lambda w: w / 0 * 0),
    "infinite weights": lambda: with_weight(lambda w: w.abs() / 0),
    "weights beyond float32": lambda: with_weight(lambda w: w.double().abs() + 1e300),
    "a negative variance": lambda: with_weight(lambda w: -w, "blocks.0.norm_layer.running_var"),
    "a weight that is a number": lambda: with_weight(lambda w: 3.0),
    "a weight too few": lambda: content_of(
        state_dict=dict(list(network().state_dict().items())[1:])
    ),
    "a weight too many": lambda: content_of(
        state_dict={**network().state_dict(), "blocks.9.weight": torch.ones(3)}
    ),
    "one weight under many names": lambda: shared(200),
    "an epoch that is text": lambda: content_of(epoch="five"),
    "an epoch that is true": lambda: content_of(epoch=True),
    "a negative epoch": lambda: content_of(epoch=-1),
    "an epoch of 1e12": lambda: content_of(epoch=10**12),
    "an extractor that is text": lambda: content_of(extractor="x"),
    "an extractor of tensors": lambda: content_of(extractor={"imdb": torch.ones(3)}),
    "an extractor of a million numbers": lambda: content_of(extractor={"x": list(range(10**6))}),
    "a temperature that is text": lambda: content_of(temperature="hot"),
    "a temperature of 0": lambda: content_of(temperature=0),
    "statistics that are text": lambda: content_of(embeddings="x"),
    "an optimizer that is a list": lambda: content_of(optimizer=[1, 2]),
    "a config that is a list": lambda: content_of(config=[1]),
    "a config without a network": lambda: content_of(config={"arch": {"type": "ResMLP"}}),
    "weights that are a list": lambda: content_of(state_dict=[torch.ones(2)]),
    "unknown arguments of a network": lambda: with_arch(num_heads=8),
}
"""Of one model, each to be refused by every program that takes one."""

ENSEMBLES: dict[str, Callable[[], Content]] = {
    "ensembles in ensembles": lambda: nested(12),
    "no models": lambda: {"members": []},
    "a million models": lambda: {"members": [{}] * 10**6},
    "one model a thousand times": lambda: {"members": [content_of()] * 1000},
    "models that are text": lambda: {"members": ["a", "b"]},
    "models that are a dict": lambda: {"members": {"a": content_of()}},
    "models of different classes": lambda: {"members": [content_of(101), content_of(8)]},
    "a model of a million residuals": lambda: {
        "members": [content_of(), with_arch(num_residuals_per_block=10**6)]
    },
}
"""Each to be refused where ensembles are taken, and elsewhere as well."""

MADE_UP: dict[str, Callable[[], Content]] = {**CONTENTS, **ENSEMBLES}


def write(content: Content, path: Path) -> Path:
    torch.save(content, path)
    return path


def rewritten(
    content: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED
) -> bytes:
    """Write a torch zip anew with other records, whose checksums are right."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(out, "w", compression) as new,
    ):
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return out.getvalue()


def bomb(path: Path, num_bytes: int) -> Path:
    """Write a checkpoint whose data.pkl is that many zeros, deflated."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("age/data.pkl", "w", force_zip64=True) as record:
            for _ in range(num_bytes >> 20):
                record.write(bytes(1 << 20))
        archive.writestr("age/version", b"3\n")
    return path
