"""A server as the original project's was: Flask's development server, a model pair, no batching.

    python benchmarks/server_stand_in.py AGE_MODEL GENDER_MODEL PORT

JSON in and out with the standard library, the networks in float32 as modules. ?mc_samples=N loops
over the faces, one batch of N equal rows for each face and model.
"""

import json
import logging
import sys
from pathlib import Path

import torch
from flask import Flask, Response, request
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from model.model import ResMLP  # noqa: E402
from utils.checkpoint import load_checkpoint, load_weights  # noqa: E402


def load(path: str) -> ResMLP:
    """Load a network, with torch's own dropout."""
    checkpoint = load_checkpoint(path)
    net = ResMLP(**checkpoint.config["arch"]["args"])
    load_weights(net, checkpoint)
    for module in net.modules():
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Dropout):
                setattr(module, name, nn.Dropout(child.p))
    return net.eval()


def sampled(net: ResMLP, embeddings: Tensor, num_passes: int) -> Tensor:
    """Give the mean probabilities (N, C) over passes with dropout, face by face."""
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    rows = [net(row.expand(num_passes, -1)).softmax(1).mean(0) for row in embeddings]
    net.eval()
    return torch.stack(rows)


def main() -> None:
    """Serve."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    age, gender = load(sys.argv[1]), load(sys.argv[2])
    years = torch.arange(101.0)
    app = Flask("stand-in")

    @app.post("/")
    def answer() -> Response:
        num_passes = int(request.args.get("mc_samples", 0))
        embeddings = torch.tensor(json.loads(request.get_data())["embeddings"])
        with torch.no_grad():
            if num_passes:
                ages, genders = (sampled(net, embeddings, num_passes) for net in (age, gender))
            else:
                ages, genders = age(embeddings).softmax(1), gender(embeddings).softmax(1)
        content = {
            "ages": (ages @ years).tolist(),
            "genders": [{"m": male, "f": female} for male, female in genders.tolist()],
        }
        return Response(json.dumps(content), mimetype="application/json")

    app.run("127.0.0.1", int(sys.argv[3]), threaded=True)


if __name__ == "__main__":
    main()
