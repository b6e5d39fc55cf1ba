"""Where runs and actions are looked up: a seam with one fulfilment so far, the history on this machine.

The objects of this room know a :class:`Source` and nothing of what is behind it.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

from flyte._core.threads import run_in_thread
from flyte._journal import values
from flyte._journal.history import History, NotRemembered
from flyte._journal.history_entries import ActionEntry, AttemptEntry, LogEntry, RunEntry, TaskEntry
from flyte._journal.schema import journal_path
from flyte.errors import ActionNotFoundError, RuntimeUserError

T = TypeVar("T")


class Source(Protocol):
    """What the objects ask for."""

    async def run(self, name: str) -> RunEntry:
        """The run called ``name``.

        :raises flyte.errors.RuntimeUserError: ``RunNotFoundError``: there is none.
        """
        ...

    async def run_by_id(self, number: int) -> RunEntry | None:
        """The run with this id; None if it was deleted."""
        ...

    async def runs(self, **filters: Any) -> list[RunEntry]:
        """Runs; for the filters see :meth:`flyte._journal.history.History.runs`."""
        ...

    async def actions(self, run: RunEntry) -> list[ActionEntry]:
        """All actions of a run in the order in which they began."""
        ...

    async def action(self, run: RunEntry, name: str | None) -> ActionEntry:
        """One action of a run, its first one if no name is given.

        :raises flyte.errors.ActionNotFoundError: there is none.
        """
        ...

    async def action_by_id(self, number: int) -> ActionEntry | None:
        """The action with this id."""
        ...

    async def tasks(self, numbers: Iterable[int]) -> dict[int, TaskEntry]:
        """Tasks by their ids."""
        ...

    async def attempts(self, action: ActionEntry) -> list[AttemptEntry]:
        """All attempts of an action."""
        ...

    async def inputs(self, action: int) -> bytes | None:
        """Inputs of an action as bytes of a LiteralMap."""
        ...

    async def outputs(self, action: int) -> bytes | None:
        """Outputs of an action as bytes of a LiteralMap; None where there are none yet."""
        ...

    async def logs(self, run: int, action: int | None, after: int) -> list[LogEntry]:
        """The lines that a run, or one action of it, wrote after the line with the id ``after``."""
        ...


class LocalHistory:
    """The runs that were started on this machine; see :mod:`flyte._journal.history`.

    :param history: the journal's reader.
    """

    def __init__(self, history: History) -> None:
        self.history = history

    async def run(self, name: str) -> RunEntry:
        """See :class:`Source`."""
        return await _asked(_run_or_refuse, self.history, name)

    async def run_by_id(self, number: int) -> RunEntry | None:
        """See :class:`Source`."""
        return await _asked(self.history.run_by_id, number)

    async def runs(self, **filters: Any) -> list[RunEntry]:
        """See :class:`Source`."""
        return await _asked(self.history.runs, **filters)

    async def actions(self, run: RunEntry) -> list[ActionEntry]:
        """See :class:`Source`."""
        return await _asked(self.history.actions, run.id)

    async def action(self, run: RunEntry, name: str | None) -> ActionEntry:
        """See :class:`Source`."""
        try:
            return await _asked(self.history.action, run, name)
        except NotRemembered as error:
            raise ActionNotFoundError(str(error)) from None

    async def action_by_id(self, number: int) -> ActionEntry | None:
        """See :class:`Source`."""
        return await _asked(self.history.action_by_id, number)

    async def tasks(self, numbers: Iterable[int]) -> dict[int, TaskEntry]:
        """See :class:`Source`."""
        return await _asked(self.history.tasks, numbers)

    async def attempts(self, action: ActionEntry) -> list[AttemptEntry]:
        """See :class:`Source`."""
        return await _asked(self.history.attempts, action)

    async def inputs(self, action: int) -> bytes | None:
        """See :class:`Source`.

        :raises OSError: the file of a large value is gone.
        :raises ValueError: it is damaged.
        """
        return await _asked(fetch_inputs, self.history, action)

    async def outputs(self, action: int) -> bytes | None:
        """See :class:`Source`; raises as :meth:`inputs` does."""
        return await _asked(fetch_outputs, self.history, action)

    async def logs(self, run: int, action: int | None, after: int) -> list[LogEntry]:
        """See :class:`Source`."""
        return await _asked(self.history.logs, run, action, after)


async def _asked(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """``call(...)`` off the event loop: a file may be busy."""
    return await run_in_thread(call, *args, **kwargs)


def _run_or_refuse(history: History, name: str) -> RunEntry:
    try:
        return history.run(name)
    except NotRemembered as error:
        raise RuntimeUserError("RunNotFoundError", str(error)) from None


def fetch_inputs(history: History, action: int) -> bytes | None:
    """Inputs of an action as bytes of a LiteralMap, also where they are in a file of their own.

    :raises OSError: the file of a large value is gone.
    :raises ValueError: it is damaged.
    """
    return _fetched(history.values(action)[0])


def fetch_outputs(history: History, action: int) -> bytes | None:
    """Outputs of an action, as :func:`fetch_inputs`; None where there are none yet."""
    return _fetched(history.values(action)[1])


def _fetched(kept: bytes | str | None) -> bytes | None:
    try:
        return values.fetch(kept) if kept is not None else None
    except FileNotFoundError as error:
        raise FileNotFoundError(f"a large value of this action is gone: {error.filename}") from None


_local: tuple[tuple[Path, int], LocalHistory] | None = None


def source() -> Source:
    """What the objects are looked up in: the history of the state folder in force."""
    global _local
    key = (journal_path(), os.getpid())
    if _local is None or _local[0] != key:
        if _local is not None and _local[0][1] == key[1]:
            _local[1].history.close()  # who still asks it opens it again
        _local = key, LocalHistory(History(key[0]))
    return _local[1]


def needs_control_plane(what: str, instead: str = "") -> NoReturn:
    """Refuse what only a control plane can do.

    :raises NotImplementedError: always.
    """
    raise NotImplementedError(
        f"{what} needs a control plane, which this version of flyte cannot talk to; runs here are those of this machine"
        + (f": {instead}" if instead else "")
    )


def refuse_filters(what: str, filters: dict[str, Any]) -> None:
    """Refuse the filters that say nothing of runs on this machine.

    :raises NotImplementedError: one of them was given.
    """
    for name, value in filters.items():
        if value:
            needs_control_plane(f"{what}({name}=...)")


def phases_of(in_phase: "Sequence[Any] | None") -> list[str] | None:
    """Names of phases, given by name or as :class:`flyte.models.ActionPhase`.

    :raises ValueError: one is not known.
    """
    if in_phase is None:
        return None
    from flyte._core.face import nearest
    from flyte._core.identity import ActionPhase

    known = [phase.value for phase in ActionPhase]
    names = [str(getattr(phase, "value", phase)).lower() for phase in in_phase]
    for name in names:
        if name not in known:
            raise ValueError(f"in_phase={name!r} is no phase{nearest(name, known)}; use {', '.join(known)}")
    return names
