"""The report of a study: one HTML file with its pictures inside, and a table for the console."""

import base64
from pathlib import Path
from typing import Any

from studies import pictures, wording
from studies.groups import MIN_FACES
from studies.intervals import NUM_REPLICATES
from studies.leakage import NEAR_COSINE
from studies.published import SOURCE
from studies.summary import Summary, summarise
from studies.templates import environment
from utils.errors import DataError
from utils.files import atomic_write, read_json, write_json
from utils.text import in_columns

SUMMARY_NAME = "summary.json"
REPORT_NAME = "report.html"
TEMPLATE_NAME = "report.html.jinja"

__all__ = ["read_summary", "render", "summarise", "table", "write_report"]


def write_report(folder: Path) -> Summary:
    """Write summary.json and report.html of a study.

    Returns:
        the summary.

    Raises:
        DataError: the folder is no study, or a file of it is damaged.
    """
    folder = Path(folder)
    summary = summarise(folder)
    write_json(summary, folder / SUMMARY_NAME)
    with atomic_write(folder / REPORT_NAME) as file:
        file.write(render(summary).encode(errors="backslashreplace"))
    return summary


def read_summary(folder: Path) -> Summary:
    """Read summary.json of a study.

    Raises:
        ConfigError: it is missing, or no JSON.
        DataError: it is no summary.
    """
    path = Path(folder) / SUMMARY_NAME
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("results"), list):
        raise DataError(f"{path} is no summary of a study; make it anew with study.py")
    return content


def render(summary: Summary) -> str:
    """Write the report of a summary as HTML that needs no other file."""
    drawn = {
        anchor(entry): [(picture, _as_address(picture.png)) for picture in pictures.draw(entry)]
        for entry in summary["results"]
        if entry["is_run"]
    }
    return (
        environment(escapes_html=True)
        .get_template(TEMPLATE_NAME)
        .render(
            summary=summary,
            results=summary["results"],
            drawn=drawn,
            anchor=anchor,
            w=wording,
            source=SOURCE,
            min_faces=MIN_FACES,
            num_replicates=NUM_REPLICATES,
            near_cosine=NEAR_COSINE,
        )
    )


def anchor(entry: dict[str, Any]) -> str:
    """Name the section of a result."""
    return f"{entry['task']}-{entry['protocol']}"


def _as_address(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def table(summary: Summary) -> str:
    """Write the main figures of all results as text, for the console.

    One line a result and metric: mean ± population std over runs, 95 % interval over subjects, and
    what was published.
    """
    rows = [("result", "metric", "runs", "split", "mean ± std", "95 % interval", "published")]
    for entry in summary["results"]:
        name = f"{entry['task']} ({entry['protocol']})"
        if not entry["is_run"]:
            rows.append((name, "", "", "", "not run", "", ""))
            continue
        judged = entry["splits"][entry["judged"]]
        for metric in entry["headline"]:
            found = judged["metrics"][metric]
            rows.append(
                (
                    name,
                    metric,
                    str(judged["num_runs"]),
                    entry["judged"],
                    wording.spread(found, metric, judged["num_runs"]),
                    wording.reach(found, metric),
                    wording.published(entry["published"].get(metric)),
                )
            )
    return "\n".join(in_columns(rows))
