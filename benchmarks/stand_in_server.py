"""Serve as the original project does: Flask's development server, a model pair, no batching.

    python -m benchmarks.stand_in_server AGE_MODEL GENDER_MODEL

Prints its URL. JSON in and out with the standard library, the networks in float32 as modules.
?mc_samples=N loops over the faces, one batch of N equal rows for each face and model.
"""

import json
import logging
import sys

import torch
from flask import Flask, Response, request
from torch import Tensor, nn
from torch.nn import functional
from werkzeug.serving import make_server

from benchmarks.stock import with_stock_layers
from model.model import ResMLP
from utils.checkpoint import load_checkpoint
from utils.weights import load_weights


def load(path: str) -> ResMLP:
    """Load a network, with torch's own dropout."""
    checkpoint = load_checkpoint(path)
    model = ResMLP(**checkpoint.config["arch"]["args"])
    load_weights(model, checkpoint)
    return with_stock_layers(model).eval()


def probabilities(model: ResMLP, embeddings: Tensor, num_passes: int) -> Tensor:
    """Return the probabilities (N, C), their means over passes with dropout if there are any."""
    if not num_passes:
        return functional.softmax(model(embeddings), 1)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    rows = [model(row.expand(num_passes, -1)).softmax(1).mean(0) for row in embeddings]
    model.eval()
    return torch.stack(rows)


def main() -> None:
    """Serve on a free port until ended."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    models = [load(path) for path in sys.argv[1:3]]
    years = torch.arange(101.0)
    app = Flask("stand-in")

    @app.post("/")
    def answer() -> Response:
        num_passes = int(request.args.get("mc_samples", 0))
        embeddings = torch.tensor(json.loads(request.get_data())["embeddings"])
        with torch.no_grad():
            ages, genders = (probabilities(model, embeddings, num_passes) for model in models)
        content = {
            "ages": (ages @ years).tolist(),
            "genders": [{"m": male, "f": female} for male, female in genders.tolist()],
        }
        return Response(json.dumps(content), mimetype="application/json")

    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.port}/", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
