"""``flyte update``: projects and triggers of a control plane."""

from typing import TYPE_CHECKING

from ._params import TextGroup
from ._tables import TextCommand, new_app, single

if TYPE_CHECKING:
    from typer._click.core import Command


def command() -> "Command":
    """``flyte update``."""
    from ._catalog import create_secret, update_project, update_trigger

    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def update() -> None:
        """Change projects, secrets and triggers of a control plane."""

    app.command("project", cls=TextCommand)(update_project)
    app.command("secret", cls=TextCommand)(create_secret)
    app.command("trigger", cls=TextCommand)(update_trigger)
    return single(app)
