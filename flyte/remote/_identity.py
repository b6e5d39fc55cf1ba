"""What every view of an action says: who it is, and where it stands."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flyte._core.identity import ActionID, ActionPhase
from flyte._journal.history_entries import ActionEntry, LogEntry, RunEntry, TaskEntry

from ._documents import action_document, time_of, time_text
from ._shown import JsonText
from ._source import Source, needs_control_plane, wire_phase


@dataclass(frozen=True, slots=True)
class TimeFilter:
    """A range of times.

    :param after: this time or later.
    :param before: earlier than this time.
    """

    after: datetime | None = None
    before: datetime | None = None

    def admits(self, at: float) -> bool:
        """Whether a time is in the range."""
        return (self.after is None or at >= self.after.timestamp()) and (
            self.before is None or at < self.before.timestamp()
        )


class SeenAction(JsonText):
    """What :class:`flyte.remote.Action` and :class:`flyte.remote.ActionDetails` say alike."""

    _entry: ActionEntry
    _run: RunEntry
    _task: TaskEntry
    _parent: ActionEntry | None
    _source: Source

    @property
    def name(self) -> str:
        """Name of the action, unique in its run."""
        return self._entry.name

    @property
    def run_name(self) -> str:
        """Name of the run."""
        return self._run.name

    @property
    def task_name(self) -> str | None:
        """Name of the task, or of the traced function."""
        return self._task.name

    @property
    def parent_name(self) -> str | None:
        """Name of the action that made the call; None for the run's first action."""
        return self._parent.name if self._parent is not None else None

    @property
    def phase(self) -> ActionPhase:
        """Where the action stands."""
        return ActionPhase(self._entry.phase)

    @property
    def action_id(self) -> ActionID:
        """Full identity of the action."""
        run = self._run
        return ActionID(name=self.name, run_name=run.name, project=run.project, domain=run.domain)

    @property
    def start_time(self) -> datetime:
        """When the action began."""
        return time_of(self._entry.started_at or self._entry.queued_at)

    def done(self) -> bool:
        """Whether the action has ended."""
        return self._entry.has_ended

    @property
    def raw_phase(self) -> Any:
        """The number of the phase on the wire; of an action of a control plane."""
        return wire_phase(self.phase, self._source)

    @property
    def relation(self) -> Any:
        """What the action was made from."""
        return needs_control_plane("relation", "a recovered action's origin is in to_dict()['recovered_from']")

    def to_dict(self) -> dict[str, Any]:
        """The action as plain values for JSON; times are in ISO 8601, durations in seconds."""
        return action_document(self._entry, self._task, self.run_name, self.parent_name)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, run={self.run_name!r}, task={self.task_name!r}, "
            f"phase={self.phase.value!r})"
        )

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        yield from (("name", self.name), ("run", self.run_name), ("task", self.task_name), ("phase", self.phase.value))


def names_in(uri: str | None, run_name: str | None, name: str | None) -> tuple[str, str | None]:
    """Names of a run and an action, from either form that they are given in.

    :raises ValueError: neither form was given.
    """
    if uri is not None:
        run, _, action = uri.partition("/")
        return run, action or None
    if run_name is None:
        raise ValueError("an action is found by the name of its run and its own: get(run_name=..., name=...)")
    return run_name, name


def log_text(line: LogEntry, show_ts: bool = False) -> str:
    """A line as readers see it."""
    return f"{time_text(line.at)} {line.line}" if show_ts else line.line
