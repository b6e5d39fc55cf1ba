"""``flyte rerun --remote``: a run of a control plane, once more, there. Called by `_rerun`."""

from typing import TYPE_CHECKING, Any

from ._away import connect_away, follow_or_name
from ._connect import reached
from ._params import task_command

if TYPE_CHECKING:
    from typer._click.core import Command, Context


def command_away(ctx: "Context") -> "Command":
    """The command that takes other values for the inputs of the run, and starts it again."""
    from dataclasses import replace

    from flyte._core.loop import run_blocking
    from flyte.types._guessing import guess_interface

    params = ctx.params
    with reached(ctx):
        connect_away(ctx)
        spec = run_blocking(lambda: _spec(params["run"], params["action"]))
        interface = guess_interface(spec.task_template.interface)
    # Every input has the value of then, which is not shown: it need not be readable here.
    inputs = {name: (annotation, None) for name, (annotation, _) in interface.inputs.items()}

    def start(given: dict[str, Any]) -> None:
        with reached(ctx):
            run = run_blocking(lambda: _start(params, given))
            follow_or_name(ctx, run, spec.task_template.id.name)

    return task_command(spec.short_name or spec.task_template.id.name, replace(interface, inputs=inputs), start)


async def _spec(run: str, action: str) -> Any:
    from flyte.errors import RuntimeUserError
    from flyte.remote._plane import find_plane
    from flyte.remote._source import source_of

    plane = find_plane()
    source = source_of(plane)
    found = await source.run(run)
    details = await source.details_of(plane.root(found.name, found.project, found.domain).new_sub_action(action))
    if not details.HasField("task"):
        raise RuntimeUserError("RunCreationError", f"{run}/{action} is of no task that could be run again")
    return details.task


async def _start(params: dict[str, Any], given: dict[str, Any]) -> Any:
    from flyte._core.identity import random_run_name
    from flyte.remote._launch import repeat
    from flyte.remote._plane import find_plane

    return await repeat(
        find_plane(),
        params["run"],
        action=params["action"],
        name=params["name"] or random_run_name(),
        is_named=params["name"] is not None,
        recover=bool(params["recover"]),
        inputs=given,
    )
