"""``flyte why``: what became of a run or an action, and for what reason."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from ._objects import ACTION, OUTPUT, RUN
from ._options import wants_json
from ._tables import PHASE_STYLES, TextCommand, duration, new_app, print_table, short, single, told

if TYPE_CHECKING:
    from typer._click.core import Command

    from flyte._journal.history import History
    from flyte._journal.history_entries import RunEntry

    from ._reasons import Explainer, Place, Reason

_ALIKE_S = 0.001
"""A call that took less is not worth naming as the slowest."""


def why(ctx: typer.Context, run: str = RUN, action: str = ACTION, output: str = OUTPUT) -> None:
    """Say why an action ran or was not run, hit or missed the cache, was tried again, waits or failed.

    Without ACTION: the same of the run as a whole, with the calls that are worth a look.
    """
    from flyte._journal.history import History

    from ._reasons import Explainer
    from ._render import json_text

    with told(ctx), History() as history:
        of = history.run(run)
        explainer = Explainer(history, of)
        if action is None:
            document = _explain_run(history, of, explainer, wants_json(ctx))
            if document is not None:
                print(json_text(document), flush=True)
            return
        one = history.action(of, action)
        reasons = explainer.reasons(one)
        if wants_json(ctx):
            document = {"run": of.name, "action": one.name, "task": explainer.task(one).name, "phase": one.phase}
            print(json_text({**document, "reasons": [reason.document() for reason in reasons]}), flush=True)
            return
        began = one.started_at or one.queued_at
        took = duration(began, one.ended_at, time.time())
        print(f"{explainer.title(one)} of run {of.name}: {one.phase}, {took}")
        _print_reasons(reasons)


def _print_reasons(reasons: "list[Reason]", before: str = "  ") -> None:
    for reason in reasons:
        first, *rest = reason.text.splitlines()
        sys.stdout.write(f"{before}{first}\n")
        sys.stdout.writelines(f"{before}  {line}\n" for line in rest)


def _explain_run(history: "History", run: "RunEntry", explainer: "Explainer", as_json: bool) -> dict[str, Any] | None:
    from flyte.remote._documents import first_failed

    from ._reasons import places_of

    actions = history.actions(run.id)
    tasks = history.tasks({one.task for one in actions})
    places = [place for top in places_of(actions, tasks) for place in top.walk()]
    failed = first_failed(actions)
    # A parent takes at least as long as its children, so the slowest is looked for among those that call nothing.
    parents = {one.parent for one in actions}
    leaves = [one for one in actions if one.id not in parents and one.ended_at is not None]
    slowest = max(leaves, key=lambda one: (one.ended_at or 0) - (one.started_at or one.queued_at), default=None)
    live = next((one for one in actions if not one.has_ended), None)
    said: dict[str, Any] = {"first_failure": failed, "waiting": live}
    if slowest is not None and len(actions) > 1 and (slowest.ended_at or 0) - (slowest.started_at or 0) > _ALIKE_S:
        said["slowest"] = slowest
    told_of = {name: (one, explainer.reasons(one)) for name, one in said.items() if one is not None}
    if as_json:
        return {
            "run": run.name,
            "task": run.task,
            "phase": run.phase,
            "recovered_from": run.recovered_name,
            "error": run.fault.document() if run.fault is not None else None,
            "calls": [_place_document(place) for place in places],
            **{
                name: {"action": one.name, "task": explainer.task(one).name, "reasons": [r.document() for r in reasons]}
                for name, (one, reasons) in told_of.items()
            },
        }
    took = duration(run.started_at, run.ended_at, time.time())
    print(f"run {run.name} of {run.task}: {run.phase}, {took}, {len(actions):,} actions")
    if run.recovered_from is not None:
        print(f"recovered from run {run.recovered_name or 'that was deleted'}")
    if run.fault is not None:
        print(f"{run.fault.message if run.fault.code == 'ProcessEnded' else run.fault.line}")
    if places:
        rows = [_place_row(place) for place in places]
        print_table(("TASK", "CALLS", "TIME", "LONGEST", "HOW"), rows)
    titles = {"first_failure": "first failure", "waiting": "now", "slowest": "slowest"}
    for name, (one, reasons) in told_of.items():
        took = duration(one.started_at or one.queued_at, one.ended_at, time.time())
        print(f"{titles[name]}: {explainer.title(one)}, {took}")
        _print_reasons(reasons)
    return None


def _place_row(place: "Place") -> tuple[str, str, str, str, str]:
    from ._tally import seconds_text

    how = [f"{count:,} {phase}" for phase, count in sorted(place.phases.items(), key=_order)]
    how += [f"{count:,} cache {said}" for said, count in sorted(place.caches.items())]
    if place.retried:
        how.append(f"{place.retried:,} retried")
    task = f"{'  ' * place.depth}{short(place.task)}"
    longest = seconds_text(max(0.0, place.longest_s))
    return task, f"{place.count:,}", seconds_text(max(0.0, place.total_s)), longest, ", ".join(how)


def _order(item: tuple[str, int]) -> int:
    return list(PHASE_STYLES).index(item[0]) if item[0] in PHASE_STYLES else len(PHASE_STYLES)


def _place_document(place: "Place") -> dict[str, Any]:
    return {
        "task": place.task,
        "depth": place.depth,
        "calls": place.count,
        "phases": place.phases,
        "cache": place.caches,
        "retried": place.retried,
        "total_s": round(place.total_s, 6),
        "longest_s": round(place.longest_s, 6),
        "longest": place.longest.name if place.longest is not None else None,
    }


def command() -> "Command":
    """``flyte why``."""
    app = new_app()
    app.command("why", cls=TextCommand)(why)
    return single(app)
