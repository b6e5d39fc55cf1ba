"""``flyte abort``: end runs and actions of a control plane."""

from typing import TYPE_CHECKING

import typer

from ._away import connect_away
from ._connect import reached
from ._options import OUTPUTS, one_of, read_words, wants_json
from ._params import TextGroup
from ._tables import TextCommand, new_app, single

if TYPE_CHECKING:
    from typer._click.core import Command

_REASON = typer.Option(
    "aborted from the command line", metavar="TEXT", callback=read_words, help="For whoever looks at the run."
)
_PROJECT = typer.Option(None, "--project", "-p", metavar="NAME", help="Project; the configured one if not given.")
_DOMAIN = typer.Option(None, "--domain", "-d", metavar="NAME", help="Domain; the configured one if not given.")
_OUTPUT = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it.")


def abort_run(
    ctx: typer.Context,
    names: list[str] = typer.Argument(..., metavar="NAME...", help="Names of runs, or 'last' for the latest."),
    reason: str = _REASON,
    project: str = _PROJECT,
    domain: str = _DOMAIN,
    output: str = _OUTPUT,
) -> None:
    """End runs with all their actions. A run that has ended stays as it is."""
    from flyte.remote._runs import Run
    from flyte.remote._source import looking

    aborted = []
    with reached(ctx):
        connect_away(ctx)
        with looking(away=True):
            runs = [Run.get(name) for name in dict.fromkeys(names)]
        for run in runs:
            had_ended = run.done()
            if not had_ended:
                run.abort(reason)
            aborted.append({"run": run.name, "aborted": not had_ended, "phase": run.sync().phase.value})
    if wants_json(ctx):
        from ._render import json_text

        print(json_text({"runs": aborted}), flush=True)
        return
    for one in aborted:
        print(f"aborted {one['run']}" if one["aborted"] else f"{one['run']} had ended: {one['phase']}")


def abort_action(
    ctx: typer.Context,
    run_name: str = typer.Argument(..., metavar="RUN", help="Name of the run."),
    name: str = typer.Argument(..., metavar="ACTION", help="Name of the action."),
    reason: str = _REASON,
    project: str = _PROJECT,
    domain: str = _DOMAIN,
    output: str = _OUTPUT,
) -> None:
    """End one action of a run, with all below it; whoever called it sees that it was aborted."""
    from flyte.remote._actions import Action
    from flyte.remote._source import looking

    with reached(ctx):
        connect_away(ctx)
        with looking(away=True):
            action = Action.get(run_name=run_name, name=name)
        had_ended = action.done()
        if not had_ended:
            action.abort(reason)
        action.sync()
    said = {"run": action.run_name, "action": action.name, "aborted": not had_ended, "phase": action.phase.value}
    if wants_json(ctx):
        from ._render import json_text

        print(json_text(said), flush=True)
        return
    print(f"aborted {run_name}/{name}" if not had_ended else f"{run_name}/{name} had ended: {said['phase']}")


def command() -> "Command":
    """``flyte abort``."""
    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def abort() -> None:
        """End runs or actions of a control plane."""

    app.command("run", cls=TextCommand)(abort_run)
    app.command("action", cls=TextCommand)(abort_action)
    return single(app)
