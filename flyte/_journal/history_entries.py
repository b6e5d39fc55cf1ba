"""What the history gives of a run: plain values, decoded no further than somebody asks."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from flyte._core.identity import ActionPhase

ACTIONS_BITS = 32
"""Ids of actions are ``run << 32 | n``; see :mod:`flyte._journal.schema`."""

ENDED = tuple(phase.value for phase in ActionPhase if phase.is_terminal)
FAILED = (ActionPhase.FAILED.value, ActionPhase.TIMED_OUT.value, ActionPhase.ABORTED.value)


@dataclass(frozen=True, slots=True)
class Fault:
    """An error as it was remembered; see :func:`flyte._journal.faults.fault_document`.

    :param kind: who must act: ``user``, ``system`` or ``unknown``.
    :param raised: of which class it is, and with what in it; see :mod:`flyte._core.raised`.
    """

    type: str
    code: str
    kind: str
    message: str
    traceback: str = ""
    raised: str = ""

    @classmethod
    def of(cls, document: str | None) -> "Fault | None":
        """The error of a column; None where there is none. A damaged one is shown as it stands."""
        if not document:
            return None
        try:
            said = json.loads(document)
            return cls(*(str(said.get(key, "")) for key in ("type", "code", "kind", "message", "traceback", "raised")))
        except (ValueError, AttributeError):
            return cls("Unknown", "Unknown", "unknown", document)

    @property
    def line(self) -> str:
        """Type and message in one line of at most 200 characters."""
        first = self.message.strip().partition("\n")[0]
        said = f"{self.type}: {first}" if first else self.type
        return f"{said[:197]}..." if len(said) > 200 else said

    def document(self) -> dict[str, str]:
        """The error for JSON."""
        return {
            "type": self.type,
            "code": self.code,
            "kind": self.kind,
            "message": self.message,
            "traceback": self.traceback,
        }


@dataclass(frozen=True, slots=True)
class RunEntry:
    """A run.

    :param started_at: seconds since the epoch, like every time here.
    :param ended_at: None while it runs.
    :param recovered_from: id of the run whose finished actions it took over.
    :param writer: the name its process writes under; see :mod:`flyte._journal.alive`.
    :param error: JSON; see :attr:`fault`.
    :param recovered_name: name of the run that ``recovered_from`` is the id of.
    """

    id: int
    name: str
    task: str
    phase: str
    started_at: float
    ended_at: float | None = None
    project: str | None = None
    domain: str | None = None
    base_dir: str = ""
    recovered_from: int | None = None
    writer: str = ""
    pid: int = 0
    host: str = ""
    program: str = "{}"
    error: str | None = None
    recovered_name: str | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.phase in ENDED

    @property
    def fault(self) -> Fault | None:
        """Why it failed."""
        return Fault.of(self.error)


class Waiting(NamedTuple):
    """What an action waits for, in words, and since when."""

    what: str
    since: float


class ActionEntry(NamedTuple):
    """An action: a call of a task or of a traced function.

    :param id: ``run << 32 | n``.
    :param parent: id of the action that made the call; None for the run's first.
    :param task: id of the :class:`TaskEntry`.
    :param attempts: how many were begun.
    :param cache: None (not cached), ``hit``, ``miss`` or ``refresh``.
    :param source: id of the action of an earlier run that it was taken from.
    :param waiting: JSON; see :attr:`waits`.
    :param error: JSON; see :attr:`fault`.
    """

    id: int
    run: int
    name: str
    parent: int | None
    task: int
    group: str | None
    phase: str
    attempts: int
    queued_at: float
    started_at: float | None
    ended_at: float | None
    cache: str | None
    source: int | None
    waiting: str | None
    error: str | None

    @property
    def has_ended(self) -> bool:
        """Whether it will not change any more."""
        return self.phase in ENDED

    @property
    def fault(self) -> Fault | None:
        """Why it failed."""
        return Fault.of(self.error)

    @property
    def waits(self) -> Waiting | None:
        """What it waits for."""
        if not self.waiting:
            return None
        try:
            said = json.loads(self.waiting)
            return Waiting(str(said["for"]), float(said["since"]))
        except (ValueError, TypeError, KeyError):
            return Waiting(self.waiting, self.queued_at)


@dataclass(frozen=True, slots=True)
class TaskEntry:
    """A task, or a traced function, of one version.

    :param kind: ``task`` or ``trace``.
    :param interface: bytes of a TypedInterface.
    :param detail: JSON; what the version is made of.
    """

    id: int
    name: str
    version: str
    kind: str
    interface: bytes | None
    detail: str

    @property
    def parts(self) -> dict[str, Any]:
        """What the version is made of, by name."""
        try:
            parts = json.loads(self.detail)
        except ValueError:
            return {}
        return parts if isinstance(parts, dict) else {}


@dataclass(frozen=True, slots=True)
class AttemptEntry:
    """One attempt of an action.

    :param number: 0 for the first.
    :param error: JSON; None if it has not failed.
    """

    number: int
    started_at: float
    ended_at: float | None
    error: str | None = None

    @property
    def fault(self) -> Fault | None:
        """Why it failed."""
        return Fault.of(self.error)


class LogEntry(NamedTuple):
    """A line that an action wrote.

    :param source: ``stdout``, ``stderr``, or the level of a logger.
    """

    id: int
    action: int
    at: float
    source: str
    line: str


def actions_called(name: str, actions: Sequence[ActionEntry], tasks: Mapping[int, TaskEntry]) -> list[ActionEntry]:
    """The actions that somebody may mean who calls one so: those of a task of that name, else those whose name begins
    so, from three letters on."""
    wanted = {number for number, task in tasks.items() if name in (task.name, task.name.rpartition(".")[2])}
    found = [action for action in actions if action.task in wanted]
    return found or [action for action in actions if len(name) >= 3 and action.name.startswith(name)]


def several_called(run: str, name: str, found: Sequence[ActionEntry]) -> str:
    """What is said where more than one action is called so."""
    some = ", ".join(action.name for action in found[:5]) + (", ..." if len(found) > 5 else "")
    return f"{len(found)} actions of run {run!r} go by {name!r}; name one of them: {some}"
