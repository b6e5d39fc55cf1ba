"""``flyte start devbox``, ``flyte stop devbox``, and what ``flyte get`` and ``flyte delete`` say of it."""

import sys
import time
from typing import TYPE_CHECKING

import typer

from ._options import OUTPUTS, one_of, wants_json
from ._params import TextGroup
from ._tables import TextCommand, new_app, single

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte.devbox._lifecycle import Standing

_OUTPUT = typer.Option("text", "--output", metavar="text|json", callback=one_of(OUTPUTS), help="How to print it.")


def start_devbox(
    ctx: typer.Context,
    port: int = typer.Option(0, "--port", min=0, max=65535, help="Port of 127.0.0.1; where it last was if not given."),
    places: int = typer.Option(0, "--places", min=0, help="How many attempts work at a time; default 2 per processor."),
    cpus: float = typer.Option(0, "--cpus", min=0, help="Processors that these may ask for together; default all."),
    memory: str = typer.Option("", "--memory", help="Memory that they may ask for together, as 16Gi; default all."),
    no_token: bool = typer.Option(
        False, "--no-token", help="Serve every process of this machine; the published SDK can show no token."
    ),
    warm: bool = typer.Option(
        True, "--warm/--no-warm", help="Fork attempts from a process that has loaded the SDK, or start each anew."
    ),
    output: str = _OUTPUT,
) -> None:
    """Start the control plane of this machine: it runs tasks as processes, without containers.

    Its token lies in the state folder, readable by you alone, where the client finds it by itself. An attempt that is
    forked begins sooner, but all forks have the seed of hash() and the command that ps shows in common: --no-warm.
    """
    from flyte.devbox._lifecycle import DevboxError, start

    try:
        found, started = start(port=port, places=places, cpus=cpus, memory=memory, no_token=no_token, warm=warm)
    except DevboxError as error:
        raise _failed(error) from None
    if wants_json(ctx):
        _print_json(found)
        return
    print(f"the devbox {'listens' if started else 'runs already'} on {found.endpoint}", flush=True)
    print("to run something there: flyte run --remote hello", file=sys.stderr)


def stop_devbox(ctx: typer.Context) -> None:
    """Stop the control plane of this machine, and what it runs; the next start goes on from there."""
    from flyte.devbox._lifecycle import DevboxError, stop

    try:
        stopped = stop()
    except DevboxError as error:
        raise _failed(error) from None
    print("the devbox is stopped" if stopped else "the devbox does not run")


def get_devbox(ctx: typer.Context, output: str = _OUTPUT) -> None:
    """Show whether the control plane of this machine runs, and where."""
    from flyte.devbox._lifecycle import standing

    found = standing()
    if wants_json(ctx):
        _print_json(found)
        return
    if not found.running:
        print("the devbox does not run; start it with: flyte start devbox")
        return
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.started_at)) if found.started_at else "unknown"
    rows = {
        "endpoint": found.endpoint,
        "connect": found.http_endpoint,
        "process": str(found.pid),
        "started": since,
        "version": found.version,
        "attempts": "forked from a warm process" if found.warm else "started as new processes",
        "folder": str(found.folder),
    }
    for name, value in rows.items():
        print(f"{name:<10}{value}")


def delete_devbox(
    ctx: typer.Context,
    force: bool = typer.Option(False, "--force", help="Do not ask, and stop it first if it runs."),
) -> None:
    """Remove the control plane of this machine with all its runs, results, deployed tasks and secrets."""
    from flyte.devbox._lifecycle import DevboxError, delete, devbox_dir, stop

    if not force:
        if not sys.stdin.isatty():
            ctx.fail("all runs and results of the devbox would be removed; if you mean it, add --force")
        if not typer.confirm(f"Remove all runs, results, deployed tasks and secrets in {devbox_dir()}?"):
            raise typer.Abort
    try:
        if force:
            stop()
        deleted = delete()
    except DevboxError as error:
        raise _failed(error) from None
    print("the devbox is removed" if deleted else "there is no devbox")


def _failed(error: Exception) -> typer.Exit:
    from ._render import write_error

    write_error(str(error))
    return typer.Exit(1)


def _print_json(found: "Standing") -> None:
    from ._render import json_text

    document = {
        "running": found.running,
        "endpoint": found.endpoint or None,
        "connect_endpoint": found.http_endpoint or None,
        "pid": found.pid,
        "started_at": found.started_at,
        "version": found.version or None,
        "warm": found.warm,
        "folder": str(found.folder),
    }
    print(json_text(document), flush=True)


def command() -> "Command":
    """``flyte start``."""
    app = new_app()

    @app.callback(cls=TextGroup, no_args_is_help=True)
    def start() -> None:
        """Start what runs on this machine."""

    app.command("devbox", cls=TextCommand)(start_devbox)
    return single(app)
