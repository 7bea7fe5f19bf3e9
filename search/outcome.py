"""What a search found: its trials in order, the table of the best, the config to train with."""

from dataclasses import asdict, dataclass
from typing import Any

from search.space import PARAMETERS, Search
from search.trial import FAILURE, NODE
from utils.text import in_columns

NUM_BEST = 10


@dataclass(frozen=True)
class TrialOutcome:
    """One trial.

    Attributes:
        trial: its name in Ray's folder.
        values: of the parameters.
        best: log of its best epoch; empty where no epoch was done.
        num_epochs: epochs done.
        failure: why it failed; empty where it did not.
        checkpoint: folder of its checkpoint, None where there is none.
        node: of Ray that trained its last epoch.
    """

    trial: str
    values: dict[str, Any]
    best: dict[str, float]
    num_epochs: int
    failure: str
    checkpoint: str | None
    node: str

    @property
    def is_finished(self) -> bool:
        """True where the trial counts: it did not fail, and has a value."""
        return not self.failure and "val_loss" in self.best


def outcome_of(result: Any) -> TrialOutcome:
    """Read a trial from Ray's result."""
    report = result.metrics or {}
    failure = str(report.get(FAILURE, ""))
    if result.error is not None and not failure:
        failure = _last_line(str(result.error)) or type(result.error).__name__
    prefix = "best_"
    best = {name.removeprefix(prefix): v for name, v in report.items() if name.startswith(prefix)}
    checkpoint = None if result.checkpoint is None else str(result.checkpoint.path)
    values = {name: result.config[name] for name in PARAMETERS} if result.config else {}
    return TrialOutcome(
        trial=result.path.rsplit("/", 1)[-1],
        values=values,
        best=best,
        num_epochs=int(report.get("epoch", 0)),
        failure=failure,
        checkpoint=checkpoint,
        node=str(report.get(NODE, "")),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def in_order(outcomes: list[TrialOutcome]) -> list[TrialOutcome]:
    """Sort finished trials by their validation loss, the best first; leave out the others."""
    finished = [outcome for outcome in outcomes if outcome.is_finished]
    return sorted(finished, key=lambda outcome: (outcome.best["val_loss"], outcome.trial))


def table(outcomes: list[TrialOutcome], num_epochs: int) -> str:
    """Lay out the best trials as text.

    Args:
        outcomes: finished, the best first.
        num_epochs: that a trial has at most.
    """
    metrics = [name for name in outcomes[0].best if name.startswith("val_")]
    head = ["", *metrics, "best epoch", "epochs", *PARAMETERS]
    rows = [head]
    for rank, outcome in enumerate(outcomes[:NUM_BEST], 1):
        epoch = f"{outcome.best['epoch']:.0f}"
        rows.append(
            [
                f"{rank}",
                *(f"{outcome.best[name]:.4f}" for name in metrics),
                *(epoch, f"{outcome.num_epochs} of {num_epochs}"),
                *(f"{outcome.values[name]:.4g}" for name in PARAMETERS),
            ]
        )
    title = f"The best {len(rows) - 1} of {len(outcomes)} trials:"
    return "\n".join([title, *in_columns(rows, str.rjust)])


def report_of(search: Search, outcomes: list[TrialOutcome]) -> dict[str, Any]:
    """Return the content of results.json: the search, its trials, the best first, failures last."""
    failed = [outcome for outcome in outcomes if not outcome.is_finished]
    trials = [asdict(outcome) for outcome in [*in_order(outcomes), *failed]]
    return {"config": search.config, "trials": trials}
