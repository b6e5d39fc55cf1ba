"""``flyte run`` as typer sees it: its options, and a group whose subcommands are the tasks of the user's module.

What happens once the file is known is in `_launch`, which `flyte run --help` need not import.
"""

import os
from typing import TYPE_CHECKING

import typer

from flyte._core.face import nearest

from ._params import TextGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

OUTPUTS = ("text", "json")


class RunGroup(TextGroup):
    """Finds the task that is named after the file or module."""

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":
        """The command of the task called ``cmd_name``."""
        from . import _launch

        if ctx.resilient_parsing:  # completing: the user's module must not be run
            return _launch.outlined_command(ctx, cmd_name)
        return _launch.command_of(ctx, cmd_name)

    def list_commands(self, ctx: "Context") -> list[str]:
        """Names of the tasks, read from the source without running it."""
        from . import _launch

        return list(_launch.outlined(ctx))

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """The task named first in ``args``, and what is left for it."""
        first = args[0]
        if first.startswith("-") and not ctx.resilient_parsing:
            from . import _launch
            from ._target import HELLO_TASK

            if first in ctx.help_option_names:
                _launch.list_tasks(ctx)
                raise typer.Exit
            if _launch.target(ctx).is_hello:  # the example has one task to start with
                return HELLO_TASK, _launch.command_of(ctx, HELLO_TASK), args
            self._refuse_option(ctx, first)
        return super().resolve_command(ctx, args)

    def _refuse_option(self, ctx: "Context", option: str) -> None:
        given, name = ctx.params["target"], option.partition("=")[0]
        if name in {opt for param in self.get_params(ctx) for opt in (*param.opts, *param.secondary_opts)}:
            ctx.fail(f"{name} is an option of 'flyte run': put it before {given!r}")
        ctx.fail(f"the name of a task must come before {name}: flyte run {given} TASK {option} ...")

    def collect_usage_pieces(self, ctx: "Context") -> list[str]:
        """What the usage line says after ``flyte run``."""
        return ["[OPTIONS]", "FILE_OR_MODULE", "TASK", "[--PARAMETER VALUE]..."]

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Nothing: without a file there are no tasks to list."""


# The options of `flyte run` -----------------------------------------------------------------------------------------


def _read_name(value: str | None) -> str | None:
    from flyte._core.identity import check_run_name

    try:
        return check_run_name(value) if value is not None else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _read_env(value: list[str] | None) -> list[str] | None:
    for pair in value or ():
        name, equals, _ = pair.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{pair!r} is not of the form NAME=VALUE")
    return value


def _read_output(value: str) -> str:
    if value not in OUTPUTS:
        raise typer.BadParameter(f"{value!r} is not one of {', '.join(OUTPUTS)}{nearest(value, list(OUTPUTS))}")
    return value


def _read_place(value: bool) -> bool:
    if not value:
        raise typer.BadParameter("--remote is not available in this version of flyte, which runs tasks in this process")
    return value


def _complete_target(incomplete: str) -> list[str]:
    folder, start = os.path.split(incomplete)
    try:
        entries = sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    found = [
        entry.name + ("/" if entry.is_dir() else "") for entry in entries if not entry.name.startswith((".", "__"))
    ]
    names = [name for name in found if name.endswith(("/", ".py")) and name.startswith(start)]
    return [os.path.join(folder, name) for name in names] + (["hello"] if "hello".startswith(incomplete) else [])


def run(
    ctx: typer.Context,
    target: str = typer.Argument(
        ...,
        metavar="FILE_OR_MODULE",
        help="A Python file, a module's dotted name, or 'hello' for the built-in example.",
        autocompletion=_complete_target,
    ),
    local: bool = typer.Option(True, "--local/--remote", callback=_read_place, help="Run in this process, or not."),
    name: str = typer.Option(None, metavar="NAME", callback=_read_name, help="Name of the run; made up if not given."),
    env: list[str] = typer.Option(
        None, metavar="NAME=VALUE", callback=_read_env, help="Environment variable of every task; may be repeated."
    ),
    output: str = typer.Option("text", metavar="text|json", callback=_read_output, help="How to print the result."),
    verbose: bool = typer.Option(
        False, "--verbose", "-v", help="Log what the SDK does, and keep its own frames in tracebacks."
    ),
) -> None:
    """Run a task of a file or module, and print what it returns.

    'flyte run FILE' lists the tasks, 'flyte run FILE TASK --help' shows a task's parameters.

    'flyte run hello' runs an example and says where its source is.
    """
    if ctx.invoked_subcommand is not None:
        return
    from . import _launch

    if not _launch.target(ctx).is_hello:
        _launch.list_tasks(ctx)
        raise typer.Exit(2)  # nothing was run, which a script must notice
    from ._target import HELLO_TASK

    command = _launch.command_of(ctx, HELLO_TASK)
    with command.make_context(HELLO_TASK, [], parent=ctx) as inner:
        command.invoke(inner)
