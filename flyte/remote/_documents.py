"""Runs and actions as plain values: what the objects of this room and ``flyte get`` both write.

It loads nothing that a short command would wait for.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flyte._journal.history_entries import FAILED, ActionEntry, RunEntry, TaskEntry


def run_document(entry: RunEntry) -> dict[str, Any]:
    """A run as plain values for JSON."""
    lasted = between(entry.started_at, entry.ended_at)
    return {
        "name": entry.name,
        "task": entry.task,
        "phase": entry.phase,
        "started_at": time_text(entry.started_at),
        "ended_at": time_text(entry.ended_at),
        "duration_s": round(lasted.total_seconds(), 6) if lasted is not None else None,
        "project": entry.project,
        "domain": entry.domain,
        "url": entry.base_dir,
        "recovered_from": entry.recovered_name,
        "pid": entry.pid,
        "host": entry.host,
        "error": entry.fault.document() if entry.fault is not None else None,
    }


def action_document(entry: ActionEntry, task: TaskEntry, run: str, parent: str | None) -> dict[str, Any]:
    """An action as plain values for JSON."""
    began = entry.started_at or entry.queued_at
    lasted = between(began, entry.ended_at)
    waits = entry.waits
    return {
        "name": entry.name,
        "run": run,
        "task": task.name,
        "kind": task.kind,
        "phase": entry.phase,
        "parent": parent,
        "group": entry.group,
        "attempts": entry.attempts,
        "queued_at": time_text(entry.queued_at),
        "started_at": time_text(entry.started_at),
        "ended_at": time_text(entry.ended_at),
        "duration_s": round(lasted.total_seconds(), 6) if lasted is not None else None,
        "cache": entry.cache,
        "waiting": {"for": waits.what, "since": time_text(waits.since)} if waits is not None else None,
        "error": entry.fault.document() if entry.fault is not None else None,
    }


def first_failed(entries: list[ActionEntry]) -> ActionEntry | None:
    """The first action that failed without a child of its own having failed; aborted ones only if nothing else did."""
    for phases in (FAILED[:2], FAILED):
        failed = [entry for entry in entries if entry.phase in phases]
        parents = {entry.parent for entry in failed}
        for entry in failed:
            if entry.id not in parents:
                return entry
    return None


def report_path(run: RunEntry, action: str) -> Path | None:
    """The page of an action's report; None if there is none on this machine."""
    base = run.base_dir.removeprefix("file://")
    if not base or "://" in base:
        return None
    path = Path(base, action, "report.html")
    return path if path.is_file() else None


def time_text(at: float | None) -> str | None:
    """A time in ISO 8601, in UTC; None where there is none."""
    return datetime.fromtimestamp(at, UTC).isoformat() if at is not None else None


def time_of(at: float) -> datetime:
    """A time in UTC."""
    return datetime.fromtimestamp(at, UTC)


def between(start: float | None, end: float | None) -> timedelta | None:
    """From one time to another; None where one of them is not known."""
    return timedelta(seconds=max(0.0, end - start)) if start is not None and end is not None else None
