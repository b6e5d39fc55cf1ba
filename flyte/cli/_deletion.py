"""``flyte delete``: runs of the history on this machine, with their data."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from ._options import OUTPUTS, one_of, wants_json
from ._params import TextGroup
from ._tables import TextCommand, complete_runs, new_app, single, told

if TYPE_CHECKING:
    from typer._click.core import Command

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def read_age(value: str | None) -> float | None:
    """A number and a unit, such as ``30d``; in seconds."""
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    try:
        age_s = float(number) * _UNITS_S[unit]
    except (ValueError, KeyError):
        age_s = -1.0
    if not 0 <= age_s < float("inf"):
        raise typer.BadParameter(f"{value!r} is no age; give a number and one of s, m, h, d, w, such as 30d")
    return age_s


def delete_run(
    ctx: typer.Context,
    names: list[str] = typer.Argument(
        None, metavar="NAME...", help="Names of runs, or 'last' for the latest.", autocompletion=complete_runs
    ),
    before: str = typer.Option(
        None, "--before", metavar="AGE", callback=read_age, help="All runs that were started longer ago, such as 30d."
    ),
    force: bool = typer.Option(
        False, "--force", help="Also runs that still run, or whose results other runs took over."
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it."),
) -> None:
    """Delete runs: what is remembered of them, their folders, and large values that no other run has.

    A run that still runs, and one that another run was recovered from, is only deleted with --force.
    """
    from flyte._journal.history import History
    from flyte._journal.history_deletion import delete_runs, refusals

    age_s: Any = before
    if not names and age_s is None:
        ctx.fail("say which: flyte delete run NAME..., or all that are older: flyte delete run --before 30d")
    if names and age_s is not None:
        ctx.fail("--before chooses among all runs, so it does not go with NAMEs")
    with told(ctx), History() as history:
        skipped: list[str] = []
        if age_s is not None:
            chosen = history.runs(before=time.time() - age_s)
            refused = {} if force else refusals(history, chosen)
            skipped = list(refused.values())
            chosen = [run for run in chosen if run.id not in refused]
        else:
            chosen = [run for name in dict.fromkeys(names) for run in history.runs_named(name)]
        done = delete_runs(history, chosen, force=force)
    if wants_json(ctx):
        from ._render import json_text

        print(json_text({"deleted": done.runs, "left": done.left, "skipped": skipped}), flush=True)
        return
    for why in skipped:
        print(f"left: {why}", file=sys.stderr)
    for folder in done.left:
        print(f"left: {folder}", file=sys.stderr)
    for name in done.runs:
        print(f"deleted {name}")
    if not done.runs:
        print("no run was deleted", file=sys.stderr)


def command() -> "Command":
    """``flyte delete``."""
    from ._catalog import delete_project, delete_secret, delete_trigger
    from ._plane import delete_devbox

    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def delete() -> None:
        """Delete what is remembered on this machine, or kept on a control plane."""

    app.command("run", cls=TextCommand)(delete_run)
    app.command("project", cls=TextCommand)(delete_project)
    app.command("secret", cls=TextCommand)(delete_secret)
    app.command("trigger", cls=TextCommand)(delete_trigger)
    app.command("devbox", cls=TextCommand)(delete_devbox)
    return single(app)
