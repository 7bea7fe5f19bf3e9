"""The model card of what a study made."""

import json
from pathlib import Path
from typing import Any

from studies import wording
from studies.groups import MIN_FACES
from studies.report import SUMMARY_NAME, read_summary
from studies.summary import Summary, summarise
from studies.templates import environment
from utils.files import atomic_write

CARD_NAME = "MODEL_CARD.md"
TEMPLATE_NAME = "model_card.md.jinja"
RECIPE = ("arch", "optimizer", "lr_scheduler", "loss")
"""Keys of a config that say how a network is trained."""

MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_[]<>|#!"})


def write_model_card(folder: Path) -> Path:
    """Write MODEL_CARD.md of a study, from its summary.json, or else from its runs.

    Returns:
        its path.

    Raises:
        DataError: the folder is no study, or a file of it is damaged.
    """
    folder = Path(folder)
    has_summary = (folder / SUMMARY_NAME).is_file()
    summary = read_summary(folder) if has_summary else summarise(folder)
    path = folder / CARD_NAME
    with atomic_write(path) as file:
        file.write(model_card(summary).encode(errors="backslashreplace"))
    return path


def model_card(summary: Summary) -> str:
    """Write the model card of a summary as Markdown."""
    templates = environment(escapes_html=False)
    templates.filters |= {
        "md": escaped,
        "recipe": _recipe,
        "epochs": _epochs,
        "extractors": _extractors,
    }
    return templates.get_template(TEMPLATE_NAME).render(
        summary=summary, results=summary["results"], w=wording, min_faces=MIN_FACES
    )


def escaped(text: Any) -> str:
    r"""Keep a string from being read as Markdown or HTML, and on one line.

    >>> escaped("a|b <script>\n")
    'a\\|b \\<script\\>'
    """
    return " ".join(str(text).split()).translate(MARKDOWN)


def _recipe(config: dict[str, Any]) -> str:
    parts = [_part(config[key]) for key in RECIPE if config.get(key) is not None]
    return ", ".join(parts) or wording.NOTHING


def _part(part: Any) -> str:
    """Write a part of a config as its type and arguments.

    >>> _part({"type": "AdamW", "args": {"lr": 0.001, "amsgrad": True}}), _part("cse")
    ('AdamW(lr=0.001, amsgrad=True)', 'cse')
    """
    if not isinstance(part, dict):
        return str(part)
    arguments = part.get("args") or {}
    return f"{part.get('type', '')}({', '.join(f'{key}={arguments[key]}' for key in arguments)})"


def _epochs(config: dict[str, Any]) -> Any:
    return config.get("trainer", {}).get("epochs", wording.NOTHING)


def _extractors(done: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Give what made the embeddings of each source."""
    records: dict[str, Any] = {}
    for entry in done:
        records |= entry["data"]["extractors"]
    return [
        (source, json.dumps(record, ensure_ascii=False))
        for source, record in sorted(records.items())
    ]
