"""``flyte run``: options, target and task from the command line; the run; what is written of it.

A group whose subcommands are the tasks of the user's module, each made when it is named.
"""

import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from flyte._core.face import nearest

from ._params import TextGroup, outline_command, task_command, with_dashes
from ._target import HELLO_TASK, LoadFailed, NotFound, Target, target_of

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte._definition.task import TaskTemplate

OUTPUTS = ("text", "json")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``flyte run`` itself."""

    name: str | None
    env_vars: dict[str, str]
    as_json: bool
    verbose: bool


class RunGroup(TextGroup):
    """Finds the task that is named after the file or module."""

    def get_command(self, ctx: Any, cmd_name: str) -> "Command | None":
        """The command of the task called ``cmd_name``."""
        if ctx.resilient_parsing:
            parameters = _outline(ctx).get(cmd_name)
            return outline_command(cmd_name, parameters) if parameters is not None else None
        return _command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names of the tasks, read from the source without running it."""
        return list(_outline(ctx))

    def resolve_command(self, ctx: Any, args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """The task named first in ``args``, and what is left for it."""
        first = args[0]
        if first.startswith("-") and not ctx.resilient_parsing:
            if first in ("--help", "-h"):
                _list_tasks(ctx)
                raise typer.Exit
            if _target(ctx).is_hello:  # the example has one task to start with
                return HELLO_TASK, _command(ctx, HELLO_TASK), args
            given = ctx.params["target"]
            option = first.partition("=")[0]
            if option in {name for param in self.get_params(ctx) for name in (*param.opts, *param.secondary_opts)}:
                ctx.fail(f"{option} is an option of 'flyte run': put it before {given!r}")
            ctx.fail(f"the name of a task must come before {option}: flyte run {given} TASK {first} ...")
        return super().resolve_command(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What the usage line says after ``flyte run``."""
        return ["[OPTIONS]", "FILE_OR_MODULE", "TASK", "[--PARAMETER VALUE]..."]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Nothing: without a file there are no tasks to list."""


def _outline(ctx: Any) -> dict[str, list[str]]:
    from ._outline import outline

    given = ctx.params.get("target")
    if not given:
        return {}
    try:
        path = target_of(given).source()
    except NotFound:
        return {}
    return outline(path) if path else {}


def _target(ctx: Any) -> Target:
    if not isinstance(ctx.obj, Target):
        try:
            ctx.obj = target_of(ctx.params["target"])
        except NotFound as error:
            ctx.fail(str(error))
    assert isinstance(ctx.obj, Target)
    return ctx.obj


def _load(ctx: Any) -> "dict[str, TaskTemplate[Any, Any, Any]]":
    target = _target(ctx)
    _end_of_start_up()
    try:
        return target.tasks()
    except NotFound as error:
        ctx.fail(str(error))
    except LoadFailed as error:
        _report_load_failure(target, error.__cause__ or error, _options(ctx))
        raise typer.Exit(1) from None


def _command(ctx: Any, name: str) -> "Command":
    _load(ctx)
    try:
        task = _target(ctx).task(name)
    except NotFound as error:
        ctx.fail(str(error))
    return task_command(name, task.interface, lambda given: _run(ctx, task, given))


def _options(ctx: Any) -> RunOptions:
    params = ctx.params
    env_vars = dict(pair.split("=", 1) for pair in params.get("env") or ())
    return RunOptions(params.get("name"), env_vars, params.get("output") == "json", bool(params.get("verbose")))


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
    found = [entry.name + ("/" if entry.is_dir() else "") for entry in entries if not entry.name.startswith((".", "__"))]
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
    if _target(ctx).is_hello:
        command = _command(ctx, HELLO_TASK)
        with command.make_context(HELLO_TASK, [], parent=ctx) as inner:
            command.invoke(inner)
        return
    _list_tasks(ctx)
    raise typer.Exit(2)  # nothing was run, which a script must notice


def _list_tasks(ctx: Any) -> None:
    tasks = _load(ctx)
    given = ctx.params["target"]
    if not tasks:
        ctx.fail(f"{given!r} has no tasks; decorate a function with @env.task of a flyte.TaskEnvironment")
    width = max(len(name) for name in tasks)
    for name, task in tasks.items():
        docstring = task.interface.docstring
        said = (docstring.short_description if docstring is not None else None) or ""
        print(f"{name:<{width}}  {said}".rstrip())
    sys.stdout.flush()
    which = "its name" if len(tasks) == 1 else "the name of one of them"
    example = next(iter(tasks))
    needed = " ".join(f"--{with_dashes(n)} ..." for n in tasks[example].interface.required_inputs())
    hint = f"To run a task, give {which}: flyte run {given} {example} {needed}".rstrip()
    print(hint, file=sys.stderr, flush=True)


# The run ---------------------------------------------------------------------------------------------------------------


def _end_of_start_up() -> None:
    """From here on the program is the user's; see `main` for why the collector was off."""
    import gc

    gc.freeze()
    gc.enable()


def _run(ctx: Any, task: "TaskTemplate[Any, Any, Any]", given: dict[str, Any]) -> None:
    from flyte._core import log
    from flyte._core.identity import random_run_name
    from flyte._verbs.run import with_runcontext

    from ._progress import progress
    from ._render import failure_document, print_json, print_outputs, traceback_text

    options = _options(ctx)
    log.configure("DEBUG" if options.verbose else None)
    name = options.name or random_run_name()
    began = time.monotonic()
    view = progress(name, task.name)
    context = with_runcontext("local", name=name, env_vars=options.env_vars or None, recorder=view.tally)
    try:
        with view:
            made = context.run.__call__(task, **given)
    except KeyboardInterrupt:
        if options.as_json:
            print_json({"run": name, "phase": "aborted", "outputs": None, "duration_s": _since(began)})
        raise
    except Exception as error:
        if options.as_json:
            failure = failure_document(error, options.verbose)
            print_json(
                {"run": name, "phase": "failed", "outputs": None, "duration_s": _since(began), "error": failure}
            )
        else:
            print(traceback_text(error, options.verbose), end="", file=sys.stderr, flush=True)
        raise typer.Exit(1) from None
    outputs = made.outputs().named_outputs if task.interface.has_outputs() else {}
    if options.as_json:
        print_json({"run": name, "phase": made.phase.value, "outputs": outputs, "duration_s": _since(began)})
    else:
        print_outputs(outputs)
    if _target(ctx).is_hello and not options.as_json:
        _say_where_hello_is(_target(ctx))


def _since(began: float) -> float:
    return round(time.monotonic() - began, 6)


def _say_where_hello_is(target: Target) -> None:
    print(
        f"\nThat was {target.path}\n"
        f"To change it, copy it and run the copy:\n"
        f"  cp {target.path} my_hello.py\n"
        f"  flyte run my_hello.py {HELLO_TASK} --n 20",
        file=sys.stderr,
        flush=True,
    )


def _report_load_failure(target: Target, error: BaseException, options: RunOptions) -> None:
    from ._render import failure_document, print_json, traceback_text, write_error

    if options.as_json:
        print_json({"run": None, "phase": "failed", "outputs": None, "error": failure_document(error, options.verbose)})
        return
    print(traceback_text(error, options.verbose), end="", file=sys.stderr)
    if isinstance(error, SystemExit):
        write_error(
            f"{target.given!r} ended the process while it was imported; put what runs the program under "
            "'if __name__ == \"__main__\":'"
        )
    else:
        write_error(f"{target.given!r} could not be imported; see the traceback above")


