"""``flyte run`` as typer sees it: its options, and a group whose subcommands are the tasks of the user's module.

What happens once the file is known is in `_launch`, which `flyte run --help` need not import.
"""

import os
from typing import TYPE_CHECKING

import typer

from ._options import (
    COPY_STYLES,
    OUTPUTS,
    check_together,
    one_of,
    read_folder,
    read_images,
    read_limit,
    read_pairs,
    read_run_name,
    read_words,
    read_workers,
    refuse,
)
from ._params import TextGroup

if TYPE_CHECKING:
    from typer._click.core import Command, Context
    from typer._click.formatting import HelpFormatter

BETWEEN = {"-p": "project", "--project": "project", "-d": "domain", "--domain": "domain"}
"""Options that the published command also takes between the file and the task."""


class RunGroup(TextGroup):
    """Finds the task that is named after the file or module."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Read the options, and see that they fit together."""
        rest = super().parse_args(ctx, args)
        if not ctx.resilient_parsing:
            check_together(ctx)
        return rest

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
        args = self._read_between(ctx, args)
        if not args:
            if ctx.resilient_parsing:  # completing: the name of a task comes next
                return None, None, []
            from . import _launch
            from ._target import HELLO_TASK

            if _launch.target(ctx).is_hello:
                return HELLO_TASK, _launch.command_of(ctx, HELLO_TASK), args
            _launch.list_tasks(ctx)
            raise typer.Exit
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

    def _read_between(self, ctx: "Context", args: list[str]) -> list[str]:
        """Take the project and the domain that stand before the task's name; gives what is left."""
        while args:
            option, equals, value = args[0].partition("=")
            if option not in BETWEEN:
                break
            if not equals:
                if len(args) < 2:
                    if ctx.resilient_parsing:
                        return []
                    ctx.fail(f"Option {option!r} requires an argument.")
                value, args = args[1], args[1:]
            ctx.params[BETWEEN[option]] = value
            args = args[1:]
        return args

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
    local: bool = typer.Option(
        True,
        "--local/--remote",
        show_default=False,
        help="Run in this process, or on a control plane: the configured one, else the devbox of this machine. "
        "Default: remote if one is configured.",
    ),
    recover_from: str = typer.Option(
        None,
        metavar="RUN",
        callback=read_words,
        help="An earlier run of the task, or 'last': what ended well there and is still the same is not run again.",
    ),
    workers: str = typer.Option(
        None,
        metavar="N",
        callback=read_workers,
        help="Run tasks in N warm processes, so that they use several cores; in this process if not given.",
    ),
    name: str = typer.Option(
        None, metavar="NAME", callback=read_run_name, help="Name of the run; made up if not given."
    ),
    project: str = typer.Option(None, "--project", "-p", metavar="NAME", help="Project that the run says it is in."),
    domain: str = typer.Option(None, "--domain", "-d", metavar="NAME", help="Domain that the run says it is in."),
    version: str = typer.Option(None, metavar="TEXT", callback=read_words, help="Version that the run says it is of."),
    env: list[str] = typer.Option(
        None,
        "--env",
        "-e",
        metavar="NAME=VALUE",
        callback=read_pairs("NAME=VALUE"),
        help="Environment variable of every task; may be repeated.",
    ),
    root_dir: str = typer.Option(
        None,
        metavar="FOLDER",
        callback=read_folder,
        help="Folder that imports and module names are relative to; the current one if not given.",
    ),
    raw_data_path: str = typer.Option(
        None,
        metavar="PATH",
        callback=read_words,
        help="Where large values are written; the run's own folder if not given.",
    ),
    output: str = typer.Option("text", metavar="text|json", callback=one_of(OUTPUTS), help="How to print the result."),
    verbose: bool = typer.Option(
        False, "--verbose", "-v", help="Log all that the SDK does, and keep its own frames in tracebacks."
    ),
    follow: bool = typer.Option(
        False, "--follow", "-f", help="On a control plane: show phases and log lines until the run has ended."
    ),
    image: list[str] = typer.Option(
        None, metavar="[NAME=]URI", callback=read_images, help="On a control plane: image to use; may be repeated."
    ),
    copy_style: str = typer.Option(
        None,
        metavar="|".join(COPY_STYLES),
        callback=one_of(COPY_STYLES),
        help="On a control plane: which code is sent along.",
    ),
    service_account: str = typer.Option(
        None, metavar="NAME", callback=read_words, help="On a control plane: the account that pods run as."
    ),
    label: list[str] = typer.Option(
        None,
        metavar="KEY=VALUE",
        callback=read_pairs("KEY=VALUE"),
        help="On a control plane: label of the run; may be repeated.",
    ),
    queue: str = typer.Option(
        None, metavar="NAME", callback=read_words, help="On a control plane: the queue that the run is sent to."
    ),
    max_action_concurrency: str = typer.Option(
        None, metavar="N", callback=read_limit, help="On a control plane: how many actions run at once."
    ),
    no_sync_local_sys_paths: bool = typer.Option(
        False, "--no-sync-local-sys-paths", help="On a control plane: leave sys.path as it is there."
    ),
    run_project: str = typer.Option(
        None, metavar="NAME", help="On a control plane: project to run a deployed task in."
    ),
    run_domain: str = typer.Option(None, metavar="NAME", help="On a control plane: domain to run a deployed task in."),
    debug: bool = typer.Option(False, "--debug", hidden=True, callback=refuse()),
    tui: bool = typer.Option(False, "--tui", hidden=True, callback=refuse("on a terminal, progress is shown live")),
    dry_run: bool = typer.Option(False, "--dry-run", hidden=True, callback=refuse()),
    tracked: bool = typer.Option(False, "--tracked", hidden=True, callback=refuse()),
    tracked_strict: bool = typer.Option(False, "--tracked-strict", hidden=True, callback=refuse()),
) -> None:
    """Run a task of a file or module, and print what it returns; on a control plane, the name of the run.

    'flyte run FILE' lists the tasks, 'flyte run FILE TASK --help' shows a task's parameters.

    Options of the run stand before the file, those of the task after its name. An option "on a control plane" is
    checked, and has no effect on a run in this process.

    'flyte run hello' runs an example and says where its source is.
    """
    if ctx.invoked_subcommand is not None:
        return
    from . import _launch

    if not _launch.target(ctx).is_hello:
        _launch.list_tasks(ctx)
        raise typer.Exit
    from ._target import HELLO_TASK

    command = _launch.command_of(ctx, HELLO_TASK)
    with command.make_context(HELLO_TASK, [], parent=ctx) as inner:
        command.invoke(inner)


def command() -> "Command":
    """``flyte run``."""
    runs = typer.Typer(
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    runs.callback(cls=RunGroup, invoke_without_command=True, no_args_is_help=True)(run)
    return typer.main.get_command(runs)
