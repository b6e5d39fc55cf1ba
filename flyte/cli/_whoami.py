"""``flyte whoami``: who the control plane takes you for."""

from typing import TYPE_CHECKING

import typer

from ._connect import connect, reached
from ._options import OUTPUTS, one_of, wants_json
from ._tables import TextCommand, new_app, one_line, print_facts, single

if TYPE_CHECKING:
    from typer._click.core import Command


def whoami(
    ctx: typer.Context,
    output: str = typer.Option("text", "--output", "-o", metavar="text|json", callback=one_of(OUTPUTS), help="How."),
) -> None:
    """Show who you are to the control plane."""
    with reached(ctx):
        connect(ctx)
        from flyte._core.loop import run_blocking
        from flyte.remote._whoami import ask_who

        found = run_blocking(ask_who)
        if wants_json(ctx):
            from ._render import json_text

            print(json_text(found), flush=True)
            return
        facts = [(name, one_line(str(value), None)) for name, value in found.items() if value and name != "claims"]
        print_facts(facts)
        if not found["subject"]:
            print("the control plane takes these calls without asking who you are")


def command() -> "Command":
    """``flyte whoami``."""
    app = new_app()
    app.command(cls=TextCommand)(whoami)
    return single(app)
