"""What ensembles bring on faces that none of their members has seen.

    python cross-val.py --task age8
    python benchmarks/bench_ensemble.py saved/<run id>_cross-val-results.json imdb_wiki

1, 5 and all members: the mean over every single model, over the seeds of every fold, and all of
them at once. The faces are those of another data set in the same folder.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.bench_recipes import Floats, Values, measure  # noqa: E402
from data_loader import data_loaders  # noqa: E402
from data_loader.faces import read_faces  # noqa: E402
from serving.guess import Guess  # noqa: E402
from serving.models import load_model  # noqa: E402
from utils.files import read_json  # noqa: E402

SHOWN = ("accuracy", "one_off", "mae", "brier", "ece", "nll")
CPU = torch.device("cpu")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path)
    parser.add_argument("dataset", help="whose faces are held out, such as imdb_wiki")
    options = parser.parse_args()
    results = read_json(options.results)
    loader = results["config"]["data_loader"]
    faces = read_faces(loader["args"]["data_dir"], options.dataset)
    labels = getattr(data_loaders, loader["type"]).labels(faces, loader["args"]["num_classes"])
    kind = "gender" if loader["args"]["num_classes"] == 2 else "age"
    embeddings = torch.from_numpy(faces.embedding)
    by_fold: dict[str, list[Floats]] = {}
    for of_seed in results["checkpoints"].values():
        for fold, path in of_seed.items():
            (net,) = load_model(kind, Path(path), CPU, torch.float32).nets
            with torch.inference_mode():
                by_fold.setdefault(fold, []).append(net(embeddings).softmax(1).double().numpy())
    groups = {
        "1": [[one] for members in by_fold.values() for one in members],
        "of a fold": list(by_fold.values()),
        "all": [[one for members in by_fold.values() for one in members]],
    }
    print(f"{len(faces):,} faces of {options.dataset}")
    for name, ensembles in groups.items():
        size = len(ensembles[0])
        values = [measure(_mean(members), labels) for members in ensembles]
        print(f"{name:>10}: {size:2} members, mean of {len(values):2}  {_line(values)}")


def _mean(members: list[Floats]) -> Floats:
    guess = Guess.of_members([member.astype(np.float32) for member in members])
    return guess.probabilities.astype(np.float64)


def _line(values: list[Values]) -> str:
    return "  ".join(
        f"{name} {np.mean([one[name] for one in values]):.4f}"
        for name in SHOWN
        if name in values[0]
    )


if __name__ == "__main__":
    main()
