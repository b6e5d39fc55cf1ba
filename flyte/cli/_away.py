"""``flyte run --remote``: start a run on a control plane, say where it is, and with ``--follow`` stay until its end."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from ._connect import connect, reached
from ._options import wants_json, was_given

if TYPE_CHECKING:
    from typer._click.core import Context

    from flyte.remote._runs import Run


def connect_away(ctx: "Context") -> None:
    """Configure the control plane, unless the user's module did; what was set for the session stays."""
    from dataclasses import replace

    from flyte._core.scope import Scope, chosen_scope
    from flyte._verbs import session as sessions
    from flyte.remote._connection import configured

    if configured.get() is None:
        before = sessions.session()
        connect(ctx)
        now = sessions.session()
        kept = {name: getattr(before, name) for name in ("root_dir", "images", "image_builder", "storage")}
        sessions._session.set_default(
            replace(now, **kept, project=before.project or now.project, domain=before.domain or now.domain)
        )
    said = sessions.session()
    chosen_scope.set_default(Scope(ctx.params.get("project") or said.project, ctx.params.get("domain") or said.domain))


def goes_away(ctx: "Context") -> bool:
    """Whether a run goes to a control plane: if it was said, else if one is configured."""
    import os

    if was_given(ctx, "local"):
        return not ctx.params["local"]
    if ctx.find_root().params.get("endpoint"):
        return True
    if "local" not in ctx.params:  # a command that runs here
        return False
    connections = sys.modules.get("flyte.remote._connection")
    if connections is not None and connections.configured.get() is not None:
        return True
    from flyte._core.config_files import find_config_file

    given = ctx.find_root().params.get("config")
    if given or os.environ.get("FLYTE_ADMIN_ENDPOINT") or find_config_file() is not None:
        from flyte.config import auto

        return bool(auto(given).platform.endpoint)
    return bool(os.environ.get("FLYTE_API_KEY"))


def start_away(ctx: "Context", task: Any, given: dict[str, Any], context: dict[str, Any]) -> None:
    """Start a run on a control plane.

    :param context: options of :func:`flyte.with_runcontext`.
    """
    from flyte._core.loop import run_blocking
    from flyte._verbs.away import run_away
    from flyte._verbs.run import with_runcontext

    from ._sending import sending

    as_json = wants_json(ctx)
    with reached(ctx):
        connect_away(ctx)
        runner = with_runcontext("remote", **context).runner
        runner.check_away()
        with sending(not as_json) as told:
            run = run_blocking(lambda: run_away(runner, task, (), given, told))
        follow_or_name(ctx, run, task.name)


def follow_or_name(ctx: "Context", run: "Run", task: str) -> None:
    """Say where a run is that was started, and with ``--follow`` stay until its end.

    :param task: name of its task.
    """
    as_json = wants_json(ctx)
    if not as_json:
        print(f"run {run.name} of {task} started{_where(run)}", file=sys.stderr, flush=True)
    if ctx.params.get("follow"):
        _follow(ctx, run, task, as_json)
    elif as_json:
        _print_run(run, None, 0.0)
    else:
        print(run.name, flush=True)
        if _is_on_devbox(run):
            print(f"to see it: flyte get run {run.name} --remote", file=sys.stderr, flush=True)


def _where(run: "Run") -> str:
    # The devbox has no pages that an address would lead to.
    return " on the devbox" if _is_on_devbox(run) else f": {run.url}"


def _is_on_devbox(run: "Run") -> bool:
    plane = getattr(run._source, "plane", None)
    return plane is not None and plane.is_devbox


def _follow(ctx: "Context", run: "Run", task: str, as_json: bool) -> None:
    from flyte._core.loop import run_blocking

    from ._follow import follow
    from ._progress import progress
    from ._render import print_outputs, write_error

    began = time.monotonic()
    try:
        if as_json:
            run_blocking(run.wait.aio)
        else:
            with progress(run.name, task, not ctx.find_root().params.get("no_progress"), opening=False) as view:
                view.ended = "was left"
                run_blocking(lambda: follow(run, view))
                view.ended = run.phase.value.replace("_", " ")
    except KeyboardInterrupt:
        write_error(f"run {run.name} goes on; to end it: flyte abort run {run.name}")
        raise
    took_s = time.monotonic() - began
    outputs = dict(run.outputs().named_outputs) if run.phase.value in ("succeeded", "recovered") else None
    if as_json:
        _print_run(run, outputs, took_s)
    elif outputs is not None:
        print_outputs(outputs)
    else:
        _print_failure(run)
    if outputs is None:
        raise typer.Exit(1)


def _print_failure(run: "Run") -> None:
    fault = run._entry.fault
    if fault is not None:  # its traceback is among the log lines
        print(f"{fault.type}: {fault.message}", file=sys.stderr, flush=True)


def _print_run(run: "Run", outputs: dict[str, Any] | None, took_s: float) -> None:
    from ._render import print_json, run_document

    fault = run._entry.fault
    document = run_document(run.name, run.phase.value, outputs, took_s, fault.document() if fault is not None else None)
    print_json({**document, "url": run.url})
