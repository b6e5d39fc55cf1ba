"""Actions and values as ``flyte get`` shows them, wherever they come from.

Called by `_objects` and `_objects_away`.
"""

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ._tables import duration, moment, one_line, print_facts, print_table, short

if TYPE_CHECKING:
    from flyte._journal.history_entries import ActionEntry, AttemptEntry, RunEntry, TaskEntry

_ESCAPES = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
"""What a terminal would act on, but for colours and tabs."""
_SHOWN = 2000
"""Characters of a value that a terminal shows."""
_ALIKE = 20
"""Calls of one task by one action that a terminal shows; the rest is counted."""


def print_runs(runs: "list[RunEntry]") -> None:
    """Write a table of runs."""
    now = time.time()
    rows = [
        (run.name, run.task, run.phase, moment(run.started_at), duration(run.started_at, run.ended_at, now))
        for run in runs
    ]
    print_table(("NAME", "TASK", "PHASE", "STARTED", "DURATION"), rows, phase_column=2)


def print_actions(
    run: str, actions: "list[ActionEntry]", tasks: "dict[int, TaskEntry]", phases: Any, every: bool
) -> None:
    """Write the actions of a run as a tree.

    :param phases: only those in one of these; all, if None.
    :param every: on a terminal, also those that would only be counted.
    """
    rows = _tree(actions, {number: short(task.name) for number, task in tasks.items()}, phases)
    if sys.stdout.isatty() and not every:
        rows = _counted(rows)
    if not rows:
        print(f"run {run} has no actions" + (" in that phase" if phases else " yet"), file=sys.stderr)
        return
    table = [(f"{'  ' * depth}{task}", *_row(one)) for depth, task, one in rows]
    print_table(("TASK", "ACTION", "PHASE", "DURATION", "NOTE"), table, phase_column=2)


_Row = tuple[int, str, "ActionEntry | str"]


def _tree(actions: "list[ActionEntry]", tasks: dict[int, str], phases: Any) -> list[_Row]:
    """The actions from the root down, each with its depth."""
    known = {one.id for one in actions}
    below: dict[int | None, list[ActionEntry]] = {}
    for one in actions:
        # The row of a parent that was killed at once may be missing.
        below.setdefault(one.parent if one.parent in known else None, []).append(one)
    rows: list[_Row] = []
    waiting = [(0, one) for one in reversed(below.get(None, []))]
    while waiting:
        depth, one = waiting.pop()
        if phases is None:
            rows.append((depth, tasks[one.task], one))
        elif one.phase in phases:
            rows.append((0, tasks[one.task], one))
        waiting += [(depth + 1, child) for child in reversed(below.get(one.id, ()))]
    return rows


def _counted(rows: list[_Row]) -> list[_Row]:
    """``rows`` with no more than a few calls of the same task by the same action; the others are one row."""
    seen: dict[tuple[int | None, int, str], int] = {}
    kept: list[_Row] = []
    hidden: dict[tuple[int | None, int, str], int] = {}
    skipped: set[int] = set()
    for depth, task, one in rows:
        assert not isinstance(one, str)
        if one.parent in skipped:
            skipped.add(one.id)
            continue
        key = (one.parent, one.task, one.phase)
        seen[key] = seen.get(key, 0) + 1
        if seen[key] > _ALIKE and one.has_ended:
            skipped.add(one.id)
            if key not in hidden:
                kept.append((depth, f"... {task}", ""))
                hidden[key] = len(kept) - 1
        else:
            kept.append((depth, task, one))
    for key, place in hidden.items():
        depth, task, _ = kept[place]
        kept[place] = (depth, task, f"{seen[key] - _ALIKE:,} more {key[2]}; --all shows them")
    return kept


def _row(one: "ActionEntry | str") -> tuple[str, str, str, str]:
    if isinstance(one, str):
        return "", "", "", one
    notes = [f"group {one.group}"] if one.group else []
    if one.attempts > 1:
        notes.append(f"{one.attempts} attempts")
    if one.cache is not None:
        notes.append(f"cache {one.cache}")
    if one.waits is not None:
        notes.append(f"waits for {one.waits.what}")
    if one.fault is not None:
        notes.append(one.fault.line)
    note = one_line(", ".join(notes), 100) if notes else ""
    return one.name, one.phase, duration(one.started_at or one.queued_at, one.ended_at or time.time()), note


def print_action(
    run: str,
    action: "ActionEntry",
    task: "TaskEntry",
    attempts: "list[AttemptEntry]",
    caller: tuple[str, str] | None,
    origin: tuple[str, str] | None,
) -> None:
    """Write all that is known of an action.

    :param caller: task and name of the action that made the call.
    :param origin: run and action that it was taken over from.
    """
    began = action.started_at or action.queued_at
    facts = [
        ("action", action.name),
        ("run", run),
        ("task", task.name + ("" if task.kind == "task" else f" ({task.kind})")),
        ("phase", action.phase),
        ("called by", f"{short(caller[0])} ({caller[1]})" if caller is not None else "the run"),
        ("started", moment(began)),
        ("duration", duration(began, action.ended_at, None if action.has_ended else time.time())),
        ("attempts", str(action.attempts)),
    ]
    if action.group:
        facts.append(("group", action.group))
    if action.cache is not None:
        facts.append(("cache", action.cache))
    if origin is not None:
        facts.append(("recovered from", f"action {origin[1]} of run {origin[0]}"))
    if action.waits is not None:
        facts.append(("waits for", f"{action.waits.what}, since {moment(action.waits.since)}"))
    if action.fault is not None:
        facts.append(("error", action.fault.traceback.strip() or action.fault.line))
    print_facts(facts)
    if len(attempts) > 1:
        print_table(
            ("ATTEMPT", "STARTED", "DURATION", "ERROR"),
            [
                (str(one.number), moment(one.started_at), duration(one.started_at, one.ended_at),
                 one.fault.line if one.fault is not None else "")
                for one in attempts
            ],
        )  # fmt: skip


def print_values(title: str, values: dict[str, Any], action: "ActionEntry") -> None:
    """Write the inputs or outputs of an action."""
    from pprint import pformat

    if not values:
        why = f" (it {action.phase.replace('_', ' ')})" if title == "outputs" and action.phase != "succeeded" else ""
        print(f"{title}: none{why}")
        return
    print(f"{title}:")
    for name, value in values.items():
        text = repr(value)
        if len(text) > _SHOWN and sys.stdout.isatty():
            text = f"{text[:_SHOWN]}... ({len(text):,} characters; --output json shows all)"
        elif len(text) + len(name) > 100:
            text = pformat(value, width=100).replace("\n", "\n    ")
            text = "\n    " + text if "\n" in text else text
        print(f"  {name}: {text}")


def visible(line: str, stream: TextIO | None = None) -> str:
    """A line that a task wrote, on a terminal without what it would act on.

    :param stream: where it is written; standard output if not given.
    """
    return _ESCAPES.sub("", line) if (stream or sys.stdout).isatty() else line


def open_page(path: Path) -> None:
    """Show a file of HTML in the browser.

    :raises OSError: there is none.
    """
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        raise OSError(f"no browser could be started; open {path} yourself")
