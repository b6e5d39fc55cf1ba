"""``flyte get logs --remote``: the lines that actions of a run on a control plane wrote. Called by `_objects`."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from ._connect import reached
from ._objects_away import source_away
from ._options import wants_json
from ._render import json_text
from ._shown import visible
from ._tables import moment, short

if TYPE_CHECKING:
    from typer._click.core import Context

    from flyte._journal.history_entries import ActionEntry, LogEntry
    from flyte.remote._plane_source import PlaneHistory
    from flyte.remote._plane_streams import Line


def get_logs_away(
    ctx: "Context", run: str, action: str | None, attempt: int | None, last: int | None, timestamps: bool, follow: bool
) -> None:
    """Show what a run, or one of its actions, wrote, and with ``follow`` what they go on to write until they end."""
    from flyte._core.loop import run_blocking

    with reached(ctx):
        source = source_away(ctx)
        written = run_blocking(lambda: _write(ctx, source, run, action, attempt, last, timestamps, follow))
        if not written and not wants_json(ctx):
            who = "it" if action is not None else f"run {run}"
            print(f"nothing that {who} wrote is there" + ("" if follow else " so far"), file=sys.stderr)


async def _write(
    ctx: "Context",
    source: "PlaneHistory",
    run: str,
    action: str | None,
    attempt: int | None,
    last: int | None,
    timestamps: bool,
    follow: bool,
) -> int:
    from contextlib import aclosing

    from flyte.remote._plane_streams import QUIET_S, lines_as_written, lines_of, lines_so_far

    of = await source.run(run)
    known: dict[int, str] = {}

    def say(one: "ActionEntry", line: "LogEntry") -> None:
        if one.task not in known:
            known[one.task] = source.task_name(one)
        task = known[one.task]
        if wants_json(ctx):
            from flyte.remote._documents import time_text

            document = {"at": time_text(line.at), "action": one.name, "task": task}
            print(json_text({**document, "source": line.source, "line": line.line}), flush=True)
            return
        stamp = f"{moment(line.at)} " if timestamps else ""
        whose = f"{short(task)}: " if action is None else ""
        print(f"{stamp}{whose}{visible(line.line)}", flush=True)

    if action is not None:
        one = await source.action(of, action)

        async def own() -> "AsyncGenerator[Line]":
            async with aclosing(lines_of(source, of, one.name, attempt, None if follow else QUIET_S)) as lines:
                async for line in lines:
                    yield one, line

        stream = own()
    else:
        stream = lines_as_written(source, of) if follow else lines_so_far(source, of)
    written = 0
    async with aclosing(stream) as lines:
        async for one, line in lines if last is None else _last(lines, last, QUIET_S):
            written += 1
            say(one, line)
    return written


async def _last(lines: "AsyncGenerator[Line]", number: int, quiet_s: float) -> "AsyncGenerator[Line]":
    """The last so many of the lines that are there, which are all until none came for ``quiet_s``; then the others."""
    kept: deque[Line] = deque(maxlen=number)
    coming = asyncio.ensure_future(anext(lines, None))
    try:
        while True:
            await asyncio.wait({coming}, timeout=quiet_s)
            if not coming.done() or (line := coming.result()) is None:
                break
            kept.append(line)
            coming = asyncio.ensure_future(anext(lines, None))
        for line in kept:
            yield line
        while (line := await coming) is not None:
            yield line
            coming = asyncio.ensure_future(anext(lines, None))
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
