"""How sure an ensemble is: fitted to people by those of its models that were not trained on them.

The models of an ensemble have mostly been trained on each other's validation rows, so that nobody
may be new to all. Each person is therefore judged by the mean of the models to whom they are new.
That is a smaller ensemble than the one that is used, and hardly a surer one, so that the promise is
rather kept too well (docs/confidence.md has the figures). Source: Kim, Xu and Barber, Predictive
Inference Is Free with the Jackknife+-after-Bootstrap, arXiv 2002.09025.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from confidence.reading import fit_confidence
from data_loader.data_sets import same_data_set
from data_loader.faces import LoadedFaces, read_source
from model import model as arch
from trainer.check import check
from trainer.confidence import KnownPeople, probabilities_of
from trainer.data import SharedInputs, every_row_loader, training_loader
from trainer.seen_rows import rows_of_source
from utils.checkpoint import Checkpoint
from utils.config import ConfigParser
from utils.errors import CheckpointError, UserError
from utils.weights import load_weights


def fit_ensemble_confidence(members: Sequence[Checkpoint], data_dir: Path) -> dict[str, Any]:
    """Fit what the checkpoint of an ensemble keeps under "confidence".

    Args:
        members: of one task, trained on one data set.
        data_dir: folder of that data set.

    Raises:
        CheckpointError: it is not known whom a model was trained on, the models were trained on
            different data sets, or nobody known is new to any of them.
        DataError: the data are missing or unfit.
    """
    runs = [_run_of(member, data_dir) for member in members]
    source = _source_of(members, runs)
    every = every_row_loader(runs[0], SharedInputs(source))
    people = source.faces.subject[rows_of_source(every, every.rows)]
    is_new = np.stack([_is_new(people, run, source) for run in runs])
    chosen = is_new.any(axis=0)
    if not chosen.any():
        raise CheckpointError(
            f"every person known in {data_dir} was trained on by all models of the ensemble, so "
            "nothing can be promised; leave data_dir out"
        )
    known = KnownPeople.of(every, every.rows[chosen], source.faces)
    is_new = is_new[:, chosen]
    sums: Any = 0.0
    for member, run, of_member in zip(members, runs, is_new, strict=True):
        said = probabilities_of(
            _network(member, run), every.unshuffled(known.loader.rows[of_member])
        )
        shares = np.zeros((len(of_member), said.shape[1]))
        shares[of_member] = said / is_new.sum(axis=0)[of_member, None]
        sums = sums + shares
    return fit_confidence(known.judged(sums), members[0].age_classes).to_plain()


def _run_of(member: Checkpoint, data_dir: Path) -> ConfigParser:
    """Return the config that a model was trained with, with the data where they are now."""
    try:
        run = ConfigParser(
            member.config,
            modification={"data_loader.args.data_dir": str(data_dir), "n_gpu": 0},
            check=check,
        )
    except UserError:
        raise CheckpointError(
            f"{member.path}: its config does not say whom it was trained on, so nothing can be "
            "promised; leave data_dir out"
        ) from None
    if run["checkpoint"] is not None:
        raise CheckpointError(
            f"{member.path} started from {run['checkpoint']}, which may know anybody, so nothing "
            "can be promised; leave data_dir out"
        )
    if member.has_changed_data:
        raise CheckpointError(
            f"{member.path} went on with other data than it began with, which may hold anybody, so "
            "nothing can be promised; leave data_dir out"
        )
    return run


def _source_of(members: Sequence[Checkpoint], runs: Sequence[ConfigParser]) -> LoadedFaces:
    """Read the data set that all were trained on."""
    first, *others = [run["data_loader"]["args"] for run in runs]
    for member, arguments in zip(members[1:], others, strict=True):
        if not same_data_set(arguments["dataset"], first["dataset"]):
            raise CheckpointError(
                f"{members[0].path} was trained on {first['dataset']}, {member.path} on "
                f"{arguments['dataset']}: nothing can be promised; leave data_dir out"
            )
    holds_out = any(one.get("test_cross_val") is not None for one in (first, *others))
    return read_source(first["data_dir"], first["dataset"], holds_out=holds_out)


def _is_new(people: NDArray[np.str_], run: ConfigParser, source: LoadedFaces) -> NDArray[np.bool_]:
    """Return whose faces (N,) are of known people whom a training was not on."""
    loader = training_loader(run, SharedInputs(source))
    trained = source.faces.subject[rows_of_source(loader, loader.rows)]
    is_new: NDArray[np.bool_] = (people != "") & ~np.isin(people, np.unique(trained))
    return is_new


def _network(member: Checkpoint, run: ConfigParser) -> nn.Module:
    network: nn.Module = run.init_obj("arch", arch)
    load_weights(network, member)
    return network
