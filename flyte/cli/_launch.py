"""From FILE_OR_MODULE and TASK to a finished run: load, make the task's command, run, report.

Called by `_run`. Its functions take typer's context of ``flyte run``, whose parameters are the run's options.
"""

import sys
import time
from dataclasses import dataclass
from logging import DEBUG, INFO, getLevelNamesMapping
from typing import TYPE_CHECKING, Any

import typer

from ._options import wants_json
from ._params import outline_command, task_command, with_dashes
from ._target import HELLO_TASK, LoadFailed, NotFound, Target, target_of

if TYPE_CHECKING:
    from typer._click.core import Command, Context

    from flyte._definition.task import TaskTemplate


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of ``flyte run`` and of ``flyte`` itself that have a meaning in this process.

    :param context: those of :func:`flyte.with_runcontext`.
    :param session: those of :func:`flyte.init`; empty if it need not be called.
    :param logging: those of both that say what is logged.
    :param verbose: keep the SDK's own frames in tracebacks.
    :param live: whether progress may be redrawn.
    """

    context: dict[str, Any]
    session: dict[str, Any]
    logging: dict[str, Any]
    as_json: bool
    verbose: bool
    live: bool


def options_of(ctx: "Context") -> RunOptions:
    params, general = ctx.params, ctx.find_root().params
    env_vars = dict(pair.split("=", 1) for pair in params.get("env") or ())
    context = {
        "env_vars": env_vars or None,
        **{key: params.get(key) for key in ("name", "project", "domain", "version", "raw_data_path")},
        "max_action_concurrency": params.get("max_action_concurrency"),
        "workers": params.get("workers"),
        "recover_from": params.get("recover_from"),
    }
    session = {
        **{key: params.get(key) for key in ("project", "domain", "root_dir")},
        **{key: general.get(key) for key in ("org", "endpoint", "insecure", "image_builder")},
    }
    verbosity = general.get("verbose") or 0
    everything = verbosity >= 3 or params.get("verbose")
    logging = {
        "log_level": DEBUG if everything else INFO if verbosity == 2 else None,
        "log_format": general.get("log_format"),
        "user_log_level": _level(general.get("user_log_level")),
        "reset_root_logger": bool(general.get("reset_root_logger")),
    }
    return RunOptions(
        context,
        {key: value for key, value in session.items() if value},
        logging,
        wants_json(ctx),
        bool(verbosity or params.get("verbose")),
        not general.get("no_progress"),
    )


def _level(name: str | None) -> int | None:
    return getLevelNamesMapping()[name.upper()] if name is not None else None


def outlined(ctx: "Context") -> dict[str, list[str]]:
    """Tasks of the file and their parameters, as written, without running it; nothing before a file is named."""
    given = ctx.params.get("target")
    if not given:
        return {}
    try:
        path = target_of(given, ctx.params.get("root_dir")).source()
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
            ctx.obj = target_of(ctx.params["target"], ctx.params.get("root_dir"))
        except NotFound as error:
            ctx.fail(str(error))
    assert isinstance(ctx.obj, Target)
    return ctx.obj


def load(ctx: "Context") -> "dict[str, TaskTemplate[Any, Any, Any]]":
    """The tasks of the user's module, which is imported."""
    found = target(ctx)
    _configure(options_of(ctx))
    _end_of_start_up()
    try:
        return found.tasks()
    except NotFound as error:
        ctx.fail(str(error))
    except LoadFailed as error:
        _report_load_failure(found, error.__cause__ or error, options_of(ctx))
        raise typer.Exit(1) from None


def _configure(options: RunOptions) -> None:
    """Set what the user's module may ask for while it is imported; once is enough, and it may set it anew."""
    said = options.logging
    if options.session:
        from flyte._verbs.session import init

        init(**options.session, **said)
    else:
        from flyte._core import log

        log.configure(said["log_level"], said["log_format"], said["user_log_level"], said["reset_root_logger"])


def command_of(ctx: "Context", name: str) -> "Command":
    """The command of the task called ``name``; imports the user's module."""
    if target(ctx).is_deployed:
        from ._deployed import command_of_deployed

        return command_of_deployed(ctx, name)
    load(ctx)
    try:
        task = target(ctx).task(name)
    except NotFound as error:
        ctx.fail(str(error))
    return task_command(name, task.interface, lambda given: start(ctx, task, given))


def list_tasks(ctx: "Context") -> None:
    """Write the module's tasks, one a line, and how to run one."""
    if target(ctx).is_deployed:
        from ._deployed import list_deployed

        list_deployed(ctx)
        return
    tasks = load(ctx)
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


def start(ctx: "Context", task: "TaskTemplate[Any, Any, Any]", given: dict[str, Any]) -> None:
    """Run a task to its end, and print what came out."""
    from flyte._control.trace import phase_of
    from flyte._core.identity import random_run_name
    from flyte._verbs.run import with_runcontext

    from ._away import goes_away, start_away
    from ._progress import progress
    from ._render import failure_document, print_json, print_outputs, run_document, traceback_text

    options = options_of(ctx)
    if goes_away(ctx):
        start_away(ctx, task, given, {**options.context, **away_options(ctx)})
        return
    name = options.context["name"] or random_run_name()
    began = time.monotonic()
    view = progress(name, task.name, options.live)
    context = with_runcontext("local", **{**options.context, "name": name}, recorder=view.tally)
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


def away_options(ctx: "Context") -> dict[str, Any]:
    """The options that only a control plane can act on."""
    params = ctx.params
    labels = dict(pair.split("=", 1) for pair in params.get("label") or ())
    return {
        "labels": labels or None,
        "copy_style": params.get("copy_style") or "loaded_modules",
        "service_account": params.get("service_account"),
        "queue": params.get("queue"),
    }


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
