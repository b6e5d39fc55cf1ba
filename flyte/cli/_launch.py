"""From FILE_OR_MODULE and TASK to a finished run: load, make the task's command, run, report.

Called by `_run`. Its functions take typer's context of ``flyte run``, whose parameters are the run's options.
"""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from ._params import outline_command, task_command, with_dashes
from ._target import HELLO_TASK, LoadFailed, NotFound, Target, target_of

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from flyte._definition.task import TaskTemplate


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``flyte run`` itself."""

    name: str | None
    env_vars: dict[str, str]
    as_json: bool
    verbose: bool


def outlined(ctx: "Context") -> dict[str, list[str]]:
    """Tasks of the file and their parameters, as written, without running it; nothing before a file is named."""
    given = ctx.params.get("target")
    if not given:
        return {}
    try:
        path = target_of(given).source()
    except NotFound:
        return {}
    if path is None:
        return {}
    from ._outline import outline

    return outline(path)


def outlined_command(ctx: "Context", name: str) -> "Command | None":
    """The command of a task as far as its source shows it; for shell completion."""
    parameters = outlined(ctx).get(name)
    return outline_command(name, parameters) if parameters is not None else None


def target(ctx: "Context") -> Target:
    """What FILE_OR_MODULE names."""
    if not isinstance(ctx.obj, Target):
        try:
            ctx.obj = target_of(ctx.params["target"])
        except NotFound as error:
            ctx.fail(str(error))
    assert isinstance(ctx.obj, Target)
    return ctx.obj


def _load(ctx: "Context") -> "dict[str, TaskTemplate[Any, Any, Any]]":
    from flyte._core import log

    found = target(ctx)
    log.configure("DEBUG" if _options(ctx).verbose else None)
    _end_of_start_up()
    try:
        return found.tasks()
    except NotFound as error:
        ctx.fail(str(error))
    except LoadFailed as error:
        _report_load_failure(found, error.__cause__ or error, _options(ctx))
        raise typer.Exit(1) from None


def command_of(ctx: "Context", name: str) -> "Command":
    """The command of the task called ``name``; imports the user's module."""
    _load(ctx)
    try:
        task = target(ctx).task(name)
    except NotFound as error:
        ctx.fail(str(error))
    return task_command(name, task.interface, lambda given: _run(ctx, task, given))


def _options(ctx: "Context") -> RunOptions:
    params = ctx.params
    env_vars = dict(pair.split("=", 1) for pair in params.get("env") or ())
    return RunOptions(params.get("name"), env_vars, params.get("output") == "json", bool(params.get("verbose")))


def list_tasks(ctx: "Context") -> None:
    """Write the module's tasks, one a line, and how to run one."""
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


# The run ----------------------------------------------------------------------------------------------------


def _end_of_start_up() -> None:
    """From here on the program is the user's; see `main` for why the collector was off."""
    import gc

    gc.freeze()
    gc.enable()


def _run(ctx: "Context", task: "TaskTemplate[Any, Any, Any]", given: dict[str, Any]) -> None:
    from flyte._control.local import phase_of
    from flyte._core.identity import random_run_name
    from flyte._verbs.run import with_runcontext

    from ._progress import progress
    from ._render import failure_document, print_json, print_outputs, run_document, traceback_text

    options = _options(ctx)
    name = options.name or random_run_name()
    began = time.monotonic()
    view = progress(name, task.name)
    context = with_runcontext("local", name=name, env_vars=options.env_vars or None, recorder=view.tally)
    try:
        with view:
            made = context.run(task, **given)
    except BaseException as error:  # a body may raise what is no Exception
        if options.as_json:
            aborted = isinstance(error, KeyboardInterrupt)
            failure = None if aborted else failure_document(error, options.verbose)
            print_json(run_document(name, phase_of(error).value, None, time.monotonic() - began, failure))
        if isinstance(error, KeyboardInterrupt):
            raise
        if not options.as_json:
            print(traceback_text(error, options.verbose), end="", file=sys.stderr, flush=True)
        raise typer.Exit(1) from None
    outputs = made.outputs().named_outputs if task.interface.has_outputs() else {}
    if options.as_json:
        print_json(run_document(name, made.phase.value, outputs, time.monotonic() - began))
    else:
        print_outputs(outputs)
    if target(ctx).is_hello and not options.as_json:
        _say_where_hello_is(target(ctx))


def _say_where_hello_is(target: Target) -> None:
    from shlex import quote

    print(
        f"\nThat was {target.path}\n"
        f"To change it, copy it and run the copy:\n"
        f"  cp {quote(target.path or '')} my_hello.py\n"
        f"  flyte run my_hello.py {HELLO_TASK} --n 20",
        file=sys.stderr,
        flush=True,
    )


def _report_load_failure(target: Target, error: BaseException, options: RunOptions) -> None:
    from ._render import failure_document, print_json, run_document, traceback_text, write_error

    if options.as_json:
        print_json(run_document(None, "failed", None, 0.0, failure_document(error, options.verbose)))
        return
    print(traceback_text(error, options.verbose), end="", file=sys.stderr)
    if isinstance(error, SystemExit):
        write_error(
            f"{target.given!r} ended the process while it was imported; put what runs the program under "
            "'if __name__ == \"__main__\":'"
        )
    else:
        write_error(f"{target.given!r} could not be imported; see the traceback above")
