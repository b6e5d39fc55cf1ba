"""``flyte get ... --remote``: runs, actions, inputs, outputs and reports of a control plane.

Called by `_objects`, whose options these functions take.
"""

import asyncio
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from ._away import connect_away
from ._connect import reached
from ._options import wants_json
from ._render import json_text
from ._shown import print_action, print_actions, print_runs, print_values
from ._tables import duration, moment, print_facts

if TYPE_CHECKING:
    from typer._click.core import Context

    from flyte._journal.history_entries import ActionEntry, AttemptEntry, RunEntry, TaskEntry
    from flyte.remote._details import ActionDetails
    from flyte.remote._plane_source import PlaneHistory

_EXPLAINED = 50
"""Failed actions of a list whose errors are asked for one by one: a list says only that they failed."""
_AT_ONCE = 16


def source_away(ctx: "Context") -> "PlaneHistory":
    """The runs of the control plane that the command is about."""
    from flyte.remote._plane import find_plane
    from flyte.remote._source import source_of

    connect_away(ctx)
    return source_of(find_plane())


# Runs -----------------------------------------------------------------------------------------------------------------


def get_run_away(ctx: "Context", name: str | None, filters: dict[str, Any]) -> None:
    """List runs, the newest first, or show one."""
    from flyte._core.loop import run_blocking
    from flyte.remote._documents import run_document

    with reached(ctx):
        source = source_away(ctx)
        if name is not None:
            run, counts = run_blocking(lambda: _counted(source, name))
            if wants_json(ctx):
                print(json_text({**run_document(run), "actions": counts}), flush=True)
            else:
                _show(run, counts, source.plane.is_devbox)
            return
        runs = run_blocking(lambda: _listed(source, filters))
        if wants_json(ctx):
            print(json_text([run_document(run) for run in runs]), flush=True)
            return
        if not runs:
            plane = source.plane
            chosen = any(value for key, value in filters.items() if key not in ("limit", "project", "domain"))
            print(
                f"there is no run {'that fits' if chosen else 'yet'} in project {plane.project!r}, domain "
                f"{plane.domain!r} at {plane.endpoint}",
                file=sys.stderr,
            )
            return
        print_runs(runs)
        if filters["limit"] and len(runs) == filters["limit"]:
            print(f"... the newest {filters['limit']}; --limit 0 lists all", file=sys.stderr)


async def _listed(source: "PlaneHistory", filters: dict[str, Any]) -> "list[RunEntry]":
    runs = await source.runs(**filters)
    if not runs:
        await check_project(source.plane.project, filters["project"])
    return runs


async def check_project(project: str, given: str | None) -> None:
    """Where nothing was found in a project that was named: is there such a project?

    :param given: what the command said of it, if it did.
    :raises flyte.errors.RuntimeUserError: ``ProjectNotFoundError``: there is none.
    """
    from flyte.remote._projects import Project

    if given is not None:
        await Project.get.aio(project)


async def _counted(source: "PlaneHistory", name: str) -> "tuple[RunEntry, dict[str, int]]":
    run = await source.run(name)
    return run, dict(Counter(action.phase for action in await source.actions(run)))


def _show(run: "RunEntry", counts: dict[str, int], is_devbox: bool) -> None:
    facts = [
        ("run", run.name),
        ("task", run.task),
        ("phase", run.phase),
        ("started", moment(run.started_at)),
        ("duration", duration(run.started_at, run.ended_at, time.time())),
        ("actions", ", ".join(f"{count} {phase}" for phase, count in sorted(counts.items())) or "none"),
        ("project", f"{run.project}, domain {run.domain}"),
    ]
    if not is_devbox:  # which has no pages
        facts.append(("url", run.base_dir))
    if run.recovered_name is not None:
        facts.append(("made from", run.recovered_name))
    if run.fault is not None:
        facts.append(("error", f"{run.fault.type}: {run.fault.message.strip()}"))
    print_facts(facts)


# Actions --------------------------------------------------------------------------------------------------------------


def get_action_away(ctx: "Context", run: str, action: str | None, phases: Any, every: bool) -> None:
    """Show the actions of a run as a tree, or one of them."""
    from flyte._core.loop import run_blocking
    from flyte.remote._documents import action_document

    with reached(ctx):
        source = source_away(ctx)
        if action is not None:
            details, caller, attempts = run_blocking(lambda: _action(source, run, action))
            if wants_json(ctx):
                print(json_text(details.to_dict()), flush=True)
            else:
                print_action(details.run_name, details._entry, details._task, attempts, caller, details._origin)
            return
        of, actions, tasks = run_blocking(lambda: _actions(source, run, phases))
        if wants_json(ctx):
            names = {one.id: one.name for one in actions}
            documents = [
                action_document(
                    one, tasks[one.task], of.name, names.get(one.parent) if one.parent is not None else None
                )
                for one in actions
                if phases is None or one.phase in phases
            ]
            print(json_text(documents), flush=True)
            return
        print_actions(of.name, actions, tasks, phases, every)


async def _action(
    source: "PlaneHistory", run: str, name: str
) -> "tuple[ActionDetails, tuple[str, str] | None, list[AttemptEntry]]":
    from flyte.remote._details import ActionDetails

    of = await source.run(run)
    details = await ActionDetails._of(of, (await source.action(of, name)).name, source)
    parent = details._parent
    caller = ((await source.tasks([parent.task]))[parent.task].name, parent.name) if parent is not None else None
    return details, caller, details._attempts


async def _actions(
    source: "PlaneHistory", run: str, phases: Any
) -> "tuple[RunEntry, list[ActionEntry], dict[int, TaskEntry]]":
    from flyte._journal.history_entries import FAILED

    of = await source.run(run)
    actions = await source.actions(of)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def explained(one: "ActionEntry") -> "ActionEntry":
        async with gate:
            # Of the task, the list knows less than the details; what it is called does not change.
            return (await source.action_by_id(one.id) or one)._replace(task=one.task)

    failed = [one for one in actions if one.phase in FAILED and (phases is None or one.phase in phases)]
    known = {one.id: one for one in await asyncio.gather(*map(explained, failed[:_EXPLAINED]))}
    actions = [known.get(one.id, one) for one in actions]
    return of, actions, await source.tasks({one.task for one in actions})


def get_io_away(ctx: "Context", run: str, action: str | None, inputs: bool, outputs: bool) -> None:
    """Show what an action was called with, and what it returned."""
    from flyte._core.loop import run_blocking

    with reached(ctx):
        source = source_away(ctx)
        of, one, shown = run_blocking(lambda: _values(source, run, action, inputs, outputs))
        if wants_json(ctx):
            print(json_text({"run": of.name, "action": one.name, "phase": one.phase, **shown}), flush=True)
            return
        for title, values in shown.items():
            print_values(title, values, one)


async def _values(
    source: "PlaneHistory", run: str, action: str | None, inputs: bool, outputs: bool
) -> "tuple[RunEntry, ActionEntry, dict[str, dict[str, Any]]]":
    from flyte.remote._literals import decode_inputs, decode_outputs

    of = await source.run(run)
    one = await source.action(of, action)
    interface = (await source.tasks([one.task]))[one.task].interface
    shown: dict[str, dict[str, Any]] = {}
    if inputs:
        shown["inputs"] = decode_inputs(await source.inputs(one.id), interface)
    if outputs:
        shown["outputs"] = decode_outputs(await source.outputs(one.id), interface)
    return of, one, shown


# Reports --------------------------------------------------------------------------------------------------------------


def get_report_away(ctx: "Context", run: str, action: str | None, attempt: int | None, open_it: bool) -> None:
    """Fetch an action's report into a file of this machine, and print its path."""
    from flyte._core.loop import run_blocking

    from ._shown import open_page

    with reached(ctx):
        source = source_away(ctx)
        of, one, page = run_blocking(lambda: _report(source, run, action, attempt))
        path = _kept(source, of, one, page)
        if wants_json(ctx):
            print(json_text({"run": of.name, "action": one.name, "path": str(path)}), flush=True)
        else:
            print(path, flush=True)
        if open_it:
            open_page(path)


async def _report(
    source: "PlaneHistory", run: str, action: str | None, attempt: int | None
) -> "tuple[RunEntry, ActionEntry, str]":
    of = await source.run(run)
    one = await source.action(of, action)
    page = await source.report(of, one.name, attempt)
    if page is None:
        raise FileNotFoundError(
            f"action {one.name} of run {of.name} has no report; declare its task with report=True"
            + ("" if one.has_ended else ", and look again when it has ended")
        )
    return of, one, page


def _kept(source: "PlaneHistory", run: "RunEntry", action: "ActionEntry", page: str) -> Any:
    from hashlib import sha256
    from os import getpid, replace

    from flyte._core.home import home_dir

    # The same names may be those of other runs on another control plane.
    there = sha256(f"{source.plane.endpoint}/{run.project}/{run.domain}".encode()).hexdigest()[:12]
    path = home_dir() / "local" / "reports" / there / run.name / action.name / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".report.{getpid()}")
    unfinished.write_text(page, encoding="utf-8")
    replace(unfinished, path)
    return path
