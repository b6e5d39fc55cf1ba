"""``flyte stop``."""

from typing import TYPE_CHECKING

from ._params import TextGroup
from ._plane import stop_devbox
from ._tables import TextCommand, new_app, single

if TYPE_CHECKING:
    from typer._click.core import Command


def command() -> "Command":
    """``flyte stop``."""
    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def stop() -> None:
        """Stop what runs on this machine."""

    app.command("devbox", cls=TextCommand)(stop_devbox)
    return single(app)
