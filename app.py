"""Serve ages and genders of faces over HTTP; docs/serving.md describes requests and answers.

python app.py                     serves with waitress, ready for use
flask --app app run -p 10003      serves with Flask's development server
"""

from collections.abc import Mapping
from typing import Any

import click

from serving.error_handlers import add_error_handlers
from serving.http_server import serve
from serving.responses import CrossOrigin
from serving.routes import DUMMY, AgeGenderApp, refuse_compressed_body
from serving.settings import ServerSettings, read_settings, settings_from_arguments
from utils.cli import run
from utils.errors import UserError


def create_app(config: Mapping[str, Any] | ServerSettings | None = None) -> AgeGenderApp:
    """Load the models and make the application.

    Args:
        config: settings by name, see `serving.settings.ServerSettings`; the others come from the
            environment. Or all settings, as read.

    Raises:
        UserError: a setting or a model is wrong or missing; under the `flask` command a
            click.ClickException, which it shows as one line.
    """
    try:
        app = AgeGenderApp(config if isinstance(config, ServerSettings) else read_settings(config))
    except UserError as error:
        if click.get_current_context(silent=True):
            raise click.ClickException(str(error)) from None
        raise
    app.engine.predict(DUMMY)
    app.add_routes()
    add_error_handlers(app)
    app.before_request(refuse_compressed_body)
    app.after_request(app.metrics.count_answer)
    app.after_request(CrossOrigin(app.settings.allowed_origins).with_headers)
    return app


def main() -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        UserError: a setting or a model is wrong or missing, or the address cannot be listened on.
    """
    settings = settings_from_arguments(None, __doc__)
    app = create_app(settings)
    serve(app, settings, app.close, app.metrics.count_refusal)


if __name__ == "__main__":
    run(main)
