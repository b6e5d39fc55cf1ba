"""``flyte rerun``: a remembered run, once more, with its inputs and the code as it is now."""

import asyncio
import os
from typing import TYPE_CHECKING, Any

import typer

from ._away import goes_away
from ._options import OUTPUTS, one_of, read_run_name, read_workers
from ._params import TextGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context


class RerunGroup(TextGroup):
    """Takes the name of a run where a group takes that of a command."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Read the options; ``--recover`` may stand after the run as well."""
        first = [arg for arg in args if arg == "--recover"]
        return super().parse_args(ctx, first[:1] + [arg for arg in args if arg != "--recover"])

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """The command that starts the run's task; what is left of ``args`` are the task's parameters."""
        made = _command_of(ctx)
        return made.name, made, args

    def list_commands(self, ctx: "Context") -> list[str]:
        """None: names of runs are not commands."""
        return []

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """What the usage line says after ``flyte rerun``."""
        return ["[OPTIONS]", "RUN", "[--PARAMETER VALUE]..."]


def rerun(
    ctx: typer.Context,
    run: str = typer.Argument(..., metavar="RUN", help="Name of a run, or 'last'; see 'flyte get run'."),
    recover: bool = typer.Option(
        False, "--recover", help="Take what had ended well and is still the same work from the run."
    ),
    action: str = typer.Option("a0", metavar="ACTION", help="Run this action of it alone, with its own inputs."),
    name: str = typer.Option(None, metavar="NAME", callback=read_run_name, help="Name of the new run."),
    workers: str = typer.Option(
        None, "--workers", "-w", metavar="N", callback=read_workers, help="Run the tasks in N worker processes."
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the result."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="Log all that the SDK does."),
    local: bool = typer.Option(
        True,
        "--local/--remote",
        show_default=False,
        help="A run of this machine, with the code as it is now, or one of a control plane, with the code of then. "
        "Default: remote if one is configured.",
    ),
    project: str = typer.Option(None, "--project", "-p", metavar="NAME", help="On a control plane: its project."),
    domain: str = typer.Option(None, "--domain", "-d", metavar="NAME", help="On a control plane: its domain."),
    follow: bool = typer.Option(
        False, "--follow", "-f", help="On a control plane: show phases and log lines until the run has ended."
    ),
    recover_from: str = typer.Option(None, hidden=True),  # what --recover means for `flyte run`; set by the group
) -> None:
    """Run a remembered run again, with its inputs and the code as it is now.

    With --recover only what had not ended well, or has changed since, is run. Parameters given as for 'flyte run' take
    the place of those of then.
    """
    if ctx.invoked_subcommand is None:
        from . import _launch

        task_command, rest = _command_of(ctx), ctx.args
        given = ctx.params["run"] if goes_away(ctx) else _launch.target(ctx).given
        with task_command.make_context(given, rest, parent=ctx) as inner:
            task_command.invoke(inner)


def _command_of(ctx: "Context") -> "Command":
    from flyte._core.interface import NativeInterface
    from flyte._journal.record import recorded
    from flyte._journal.schema import NotAJournal
    from flyte._verbs.rerun import recorded_inputs
    from flyte.errors import RunRecoveryError

    from . import _launch
    from ._params import task_command
    from ._tables import devbox_hint
    from ._target import NotFound, target_of

    params = ctx.params
    if params["recover"] and params["action"] != "a0":
        ctx.fail("--recover takes up a whole run, so it does not go with --action")
    if goes_away(ctx):
        from ._rerun_away import command_away

        return command_away(ctx)
    for option in ("project", "domain"):
        if params[option] is not None:
            ctx.fail(f"--{option} says where on a control plane the run is: add --remote")
    try:
        known = recorded(params["run"], params["action"])
    except (RunRecoveryError, NotAJournal) as error:
        ctx.fail(f"{error}{devbox_hint()}")
    try:
        program = known.program
        file = program.get("file")
        if program.get("cwd") and os.path.isdir(program["cwd"]):
            os.chdir(program["cwd"])  # where the program's own relative paths lead
        ctx.obj = target_of(file if file and os.path.isfile(file) else program["module"], program.get("root") or None)
        _launch.load(ctx)
        task = _find(ctx, known.task)
        defaults = asyncio.run(recorded_inputs(known, task))
    except (RunRecoveryError, NotAJournal, NotFound) as error:
        ctx.fail(str(error))
    params["recover_from"] = known.run if params["recover"] else None
    interface = NativeInterface(
        {key: (annotation, defaults.get(key, default)) for key, (annotation, default) in task.interface.inputs.items()},
        task.interface.outputs,
        task.interface.docstring,
    )

    def start(given: dict[str, Any]) -> None:
        _launch.start(ctx, task, {**defaults, **given})

    return task_command(task.short_name, interface, start)


def _find(ctx: "Context", name: str) -> Any:
    from flyte._definition.task import declared

    from . import _launch

    found = declared.get(name)
    return found if found is not None else _launch.target(ctx).task(name)


def command() -> "Command":
    """``flyte rerun``."""
    runs = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    runs.callback(cls=RerunGroup, invoke_without_command=True, no_args_is_help=True)(rerun)
    return typer.main.get_command(runs)
