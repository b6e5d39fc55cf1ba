"""``flyte run deployed-task NAME``: a run of a task that was deployed before, of which there need be no file here.

Called by `_launch`.
"""

import sys
from typing import TYPE_CHECKING, Any

from ._away import connect_away, start_away
from ._connect import reached
from ._params import task_command
from ._target import DEPLOYED

if TYPE_CHECKING:
    from typer._click.core import Command, Context


def command_of_deployed(ctx: "Context", name: str) -> "Command":
    """The command of a deployed task.

    :param name: ``env.task``, or ``env.task:version``; the latest version if none is named.
    """
    from ._launch import away_options, options_of

    _refuse_local(ctx)
    task, _, version = name.partition(":")
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._tasks import Task

        found: Any = Task.get(task, version=version or None, auto_version=None if version else "latest").fetch()
    context = {**options_of(ctx).context, **away_options(ctx)}
    for option in ("project", "domain"):
        context[option] = ctx.params.get(f"run_{option}") or context[option]
    return task_command(task, found.interface, lambda given: start_away(ctx, found, given, context))


def list_deployed(ctx: "Context") -> None:
    """Write the deployed tasks, one a line, and how to run one."""
    _refuse_local(ctx)
    with reached(ctx):
        connect_away(ctx)
        from flyte.remote._tasks import Task

        names = sorted({one.name for one in Task.listall(limit=1000)})
        if not names:
            raise ValueError("no task is deployed there; deploy some with: flyte deploy FILE")
    for name in names:
        print(name)
    sys.stdout.flush()
    print(f"To run a task, give its name: flyte run {DEPLOYED} {names[0]} ...", file=sys.stderr, flush=True)


def _refuse_local(ctx: "Context") -> None:
    from ._options import was_given

    if was_given(ctx, "local") and ctx.params["local"]:
        ctx.fail("a deployed task runs on its control plane, not in this process: leave out --local")
