"""``flyte create``: projects, secrets and triggers of a control plane."""

from typing import TYPE_CHECKING

from ._params import TextGroup
from ._tables import TextCommand, new_app, single

if TYPE_CHECKING:
    from typer._click.core import Command


def command() -> "Command":
    """``flyte create``."""
    from ._catalog import create_project, create_secret, create_trigger

    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def create() -> None:
        """Make projects, secrets and triggers of a control plane."""

    app.command("project", cls=TextCommand)(create_project)
    app.command("secret", cls=TextCommand)(create_secret)
    app.command("trigger", cls=TextCommand)(create_trigger)
    return single(app)
