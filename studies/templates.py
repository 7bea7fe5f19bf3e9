"""Where the texts of the report and the model card come from."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def environment(escapes_html: bool) -> Environment:
    """Make the reader of the templates beside this module.

    Args:
        escapes_html: turn what would be read as HTML in a string into what shows it.
    """
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=escapes_html,  # noqa: S701 - Markdown has an escape of its own
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
