"""The report of a study (one HTML file with its pictures inside), its model card, and a table."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from studies import formatting
from studies.baselines import BASELINES
from studies.figures import draw
from studies.groups import MIN_FACES
from studies.intervals import NUM_REPLICATES
from studies.leakage import NEAR_COSINE
from studies.protocols import TASKS
from studies.summary import MissingResult, ResultSummary, StudySummary, plain
from utils.files import atomic_write, write_json
from utils.text import in_columns

SUMMARY_NAME = "summary.json"
REPORT_NAME = "report.html"
CARD_NAME = "MODEL_CARD.md"

RECIPE = ("arch", "optimizer", "lr_scheduler", "loss")
"""Keys of a config that say how a network is trained."""

MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#!"})


def write_report(summary: StudySummary, folder: Path) -> list[Path]:
    """Write summary.json, report.html and MODEL_CARD.md into the folder of a study.

    Returns:
        the paths of the latter two.
    """
    write_json(plain(summary), folder / SUMMARY_NAME)
    texts = {folder / REPORT_NAME: report(summary), folder / CARD_NAME: model_card(summary)}
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text.encode(errors="backslashreplace"))
    return list(texts)


def report(summary: StudySummary) -> str:
    """Write the report as HTML that needs no other file."""
    templates = _environment(escapes_html=True)
    templates.filters["base64"] = lambda content: base64.b64encode(content).decode()
    return templates.get_template("report.html.jinja").render(
        **_shared_context(summary),
        drawn={_anchor(result): draw(result) for result in summary.done},
        anchor=_anchor,
        num_replicates=NUM_REPLICATES,
        near_cosine=NEAR_COSINE,
    )


def model_card(summary: StudySummary) -> str:
    """Write the model card as Markdown."""
    templates = _environment(escapes_html=False)
    templates.filters |= {"md": escaped, "recipe": _recipe, "extractors": _extractors}
    return templates.get_template("model_card.md.jinja").render(**_shared_context(summary))


def _environment(escapes_html: bool) -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escapes_html,  # noqa: S701 - Markdown has an escape of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _shared_context(summary: StudySummary) -> dict[str, Any]:
    return {
        "summary": summary,
        "results": summary.results,
        "done": summary.done,
        "tasks": TASKS,
        "baselines": BASELINES,
        "f": formatting,
        "min_faces": MIN_FACES,
    }


def _anchor(result: ResultSummary | MissingResult) -> str:
    return f"{result.task}-{result.protocol}"


def escaped(text: Any) -> str:
    r"""Keep a string from being read as Markdown or HTML, and on one line.

    >>> escaped("a|b <script>\n")
    'a\\|b \\<script\\>'
    """
    return " ".join(str(text).split()).translate(MARKDOWN)


def _recipe(config: dict[str, Any]) -> str:
    sections = [_section(config[key]) for key in RECIPE if config.get(key) is not None]
    return ", ".join(sections) or formatting.NOTHING


def _section(section: Any) -> str:
    """Write a section of a config as its type and arguments.

    >>> _section({"type": "AdamW", "args": {"lr": 0.001, "amsgrad": True}}), _section("cse")
    ('AdamW(lr=0.001, amsgrad=True)', 'cse')
    """
    if not isinstance(section, dict):
        return str(section)
    arguments = section.get("args") or {}
    return f"{section.get('type', '')}({', '.join(f'{key}={arguments[key]}' for key in arguments)})"


def _extractors(results: Sequence[ResultSummary]) -> list[tuple[str, str]]:
    """Return what made the embeddings of each source."""
    found: dict[str, Any] = {}
    for result in results:
        found |= result.data.extractors
    return [
        (source, json.dumps(extractor, ensure_ascii=False))
        for source, extractor in sorted(found.items())
    ]


def console_table(summary: StudySummary) -> str:
    """Write the main figures of all results as text, for the console.

    One line a result and metric: mean ± population std over runs, 95 % interval over subjects, and
    what was published.
    """
    rows = [("result", "metric", "runs", "split", "mean ± std", "95 % interval", "published")]
    for result in summary.results:
        name = f"{result.task} ({result.protocol})"
        if isinstance(result, MissingResult):
            rows.append((name, "", "", "", "not run", "", ""))
            continue
        judged = result.splits[result.judged]
        for metric in result.headline:
            found = judged.metrics[metric]
            rows.append(
                (
                    name,
                    metric,
                    str(judged.num_runs),
                    result.judged,
                    formatting.mean_and_std(found, metric, judged.num_runs),
                    formatting.interval(found, metric),
                    formatting.published(result.published.get(metric)),
                )
            )
        sure = result.confidence
        if sure is not None:
            promise = f"held, of {100 * sure.level:.0f} %"
            of_runs = f"{100 * sure.covered.mean:.1f} % ± {100 * sure.covered.std:.1f} %"
            ends = formatting.percent(sure.covered).partition("[")[2]
            rows.append(
                (name, promise, str(result.num_runs), result.judged, of_runs, f"[{ends}", "")
            )
    return "\n".join(in_columns(rows))
