"""``flyte get ... --remote``: runs, actions, inputs, outputs and log lines of a control plane.

Called by `_objects`, whose options these functions take.
"""

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from ._away import connect_away
from ._connect import reached
from ._options import wants_json
from ._render import json_text
from ._tables import duration, moment, print_facts, print_table

if TYPE_CHECKING:
    from typer._click.core import Context

    from flyte._journal.history_entries import RunEntry
    from flyte.remote._plane_source import PlaneHistory


def _source(ctx: "Context") -> "PlaneHistory":
    from flyte.remote._plane import find_plane
    from flyte.remote._source import source_of

    connect_away(ctx)
    return source_of(find_plane())


def get_run_away(ctx: "Context", name: str | None, filters: dict[str, Any]) -> None:
    """List runs, the newest first, or show one."""
    from flyte._core.loop import run_blocking
    from flyte.remote._documents import run_document

    with reached(ctx):
        source = _source(ctx)
        if name is not None:
            run, counts = run_blocking(lambda: _counted(source, name))
            if wants_json(ctx):
                print(json_text({**run_document(run), "actions": counts}), flush=True)
            else:
                _show(run, counts)
            return
        runs = run_blocking(lambda: source.runs(**filters))
        if wants_json(ctx):
            print(json_text([run_document(run) for run in runs]), flush=True)
            return
        if not runs:
            print(f"there is no run at {source.plane.endpoint} that fits", file=sys.stderr)
            return
        now = time.time()
        rows = [
            (run.name, run.task, run.phase, moment(run.started_at), duration(run.started_at, run.ended_at, now))
            for run in runs
        ]
        print_table(("NAME", "TASK", "PHASE", "STARTED", "DURATION"), rows, phase_column=2)
        if filters["limit"] and len(runs) == filters["limit"]:
            print(f"... the newest {filters['limit']}; --limit 0 lists all", file=sys.stderr)


async def _counted(source: "PlaneHistory", name: str) -> "tuple[RunEntry, dict[str, int]]":
    run = await source.run(name)
    return run, dict(Counter(action.phase for action in await source.actions(run)))


def _show(run: "RunEntry", counts: dict[str, int]) -> None:
    facts = [
        ("run", run.name),
        ("task", run.task),
        ("phase", run.phase),
        ("started", moment(run.started_at)),
        ("duration", duration(run.started_at, run.ended_at, time.time())),
        ("actions", ", ".join(f"{count} {phase}" for phase, count in sorted(counts.items())) or "none"),
        ("project", f"{run.project}, domain {run.domain}"),
        ("url", run.base_dir),
    ]
    if run.fault is not None:
        facts.append(("error", f"{run.fault.type}: {run.fault.message.strip()}"))
    print_facts(facts)


def get_logs_away(
    ctx: "Context", run: str, action: str | None, attempt: int | None, last: int | None, timestamps: bool
) -> None:
    """Show what a run, or one of its actions, wrote; lines of what runs come as they are written."""
    from flyte._core.loop import run_blocking

    with reached(ctx):
        source = _source(ctx)
        run_blocking(lambda: _write_lines(ctx, source, run, action, attempt, last, timestamps))


async def _write_lines(
    ctx: "Context",
    source: "PlaneHistory",
    run: str,
    action: str | None,
    attempt: int | None,
    last: int | None,
    timestamps: bool,
) -> None:
    from contextlib import aclosing

    from flyte.remote._documents import time_text
    from flyte.remote._identity import log_text

    of = await source.run(run)
    names = [action] if action is not None else [one.name for one in await source.actions(of)]
    as_json, written = wants_json(ctx), 0
    for name in names:
        kept: list[Any] = []
        async with aclosing(source.lines(of, name, attempt)) as lines:
            async for line in lines:
                said = log_text(line, timestamps)
                if as_json:
                    document = {"action": name, "at": time_text(line.at), "source": line.source, "line": line.line}
                    said = json_text(document)
                elif len(names) > 1:
                    said = f"{name}  {said}"
                if last is None:
                    print(said, flush=True)
                else:
                    kept = [*kept, said][-last:] if last else []
                written += 1
        for said in kept:
            print(said, flush=True)
    if not written and not as_json:
        print(f"nothing that {'it' if action is not None else f'run {of.name}'} wrote is there", file=sys.stderr)
