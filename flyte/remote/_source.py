"""Where runs and actions are looked up: a seam that the history on this machine and a control plane fulfil.

The objects of this room know a :class:`Source` and nothing of what is behind it.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar

from flyte._core.threads import run_in_thread
from flyte._journal import values
from flyte._journal.history import History, NotRemembered
from flyte._journal.history_entries import ActionEntry, AttemptEntry, LogEntry, RunEntry, TaskEntry
from flyte._journal.schema import journal_path
from flyte.errors import ActionNotFoundError, RuntimeUserError

from ._connection import configured
from ._documents import report_path

if TYPE_CHECKING:
    from flyte._core.identity import ActionPhase

    from ._plane import Plane
    from ._plane_source import PlaneHistory

POLLED_EVERY_S = 0.1
"""How often a live run's rows are looked at; the file is local, and two rows are read in well under a millisecond."""
T = TypeVar("T")


class Source(Protocol):
    """What the objects ask for.

    :param is_local: whether it is the history of this machine.
    """

    is_local: bool

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

    def lines(self, run: RunEntry, name: str | None, attempt: int | None) -> AsyncGenerator[LogEntry]:
        """The lines that an action wrote, of all attempts or of one, 0 for the first.

        :param name: of the action; the first one of the run, if not given.
        :raises ValueError: there was no such attempt.
        """
        ...

    def news(self, run: RunEntry, name: str | None) -> AsyncGenerator[None]:
        """An item at once, and one whenever an action, the run's first one if no name is given, may have changed.

        It never ends by itself: whoever iterates looks again, and stops.
        """
        ...

    async def report(self, run: RunEntry, name: str, attempt: int | None) -> str | None:
        """The HTML of an action's report; None if there is none."""
        ...

    async def abort(self, run: RunEntry, name: str | None, reason: str) -> None:
        """End a run, or one action of it, with all below it."""
        ...


class LocalHistory:
    """The runs that were started on this machine; see :mod:`flyte._journal.history`.

    :param history: the journal's reader.
    """

    is_local = True

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

    async def lines(self, run: RunEntry, name: str | None, attempt: int | None) -> AsyncGenerator[LogEntry]:
        """See :class:`Source`."""
        action = await self.action(run, name)
        lines = await self.logs(action.run, action.id, 0)
        window = (float("-inf"), float("inf"))
        if attempt is not None:
            attempts = await self.attempts(action)
            if not 0 <= attempt < len(attempts):
                raise ValueError(f"attempt={attempt} is not one of the {len(attempts)} attempts, counted from 0")
            following = attempts[attempt + 1].started_at if attempt + 1 < len(attempts) else float("inf")
            window = attempts[attempt].started_at, following
        for line in lines:
            if window[0] <= line.at < window[1]:
                yield line

    async def news(self, run: RunEntry, name: str | None) -> AsyncGenerator[None]:
        """See :class:`Source`."""
        while True:
            yield
            await asyncio.sleep(POLLED_EVERY_S)

    async def report(self, run: RunEntry, name: str, attempt: int | None) -> str | None:
        """See :class:`Source`."""
        path = report_path(run, name)
        return path.read_text(encoding="utf-8") if path is not None else None

    async def abort(self, run: RunEntry, name: str | None, reason: str) -> None:
        """Runs of this machine are ended by ending their process."""
        needs_control_plane("abort()", f"stop the process of the run, {run.pid}, with Ctrl-C")


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


_away: ContextVar[bool | None] = ContextVar("flyte_source_away", default=None)
"""Whether things are looked up on a control plane; None to decide by whether one is configured."""


@contextmanager
def looking(*, away: bool) -> Iterator[None]:
    """Look things up on a control plane, or on this machine, within a ``with`` block."""
    token = _away.set(away)
    try:
        yield
    finally:
        _away.reset(token)


def source() -> Source:
    """What the objects are looked up in: the control plane if one is configured, else the history of this machine.

    :raises flyte.errors.InitializationError: a control plane was asked for, and there is none.
    """
    away = _away.get()
    if away or (away is None and configured.get() is not None):
        return _plane_source()
    return local_source()


def _plane_source() -> Source:
    from ._plane import find_plane

    return source_of(find_plane())


@lru_cache(maxsize=8)
def source_of(plane: "Plane") -> "PlaneHistory":
    """The runs of a control plane."""
    from ._plane_source import PlaneHistory

    return PlaneHistory(plane)


def local_source() -> LocalHistory:
    """The history of the state folder in force."""
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
        f"{what} needs a control plane, and this is about runs of this machine" + (f": {instead}" if instead else "")
    )


def no_code(what: str, source: Source) -> NoReturn:
    """Refuse to download code, which this version does of no run.

    :raises NotImplementedError: always.
    """
    if source.is_local:
        needs_control_plane(what)
    raise NotImplementedError(f"{what} is not available in this version of flyte")


def wire_phase(phase: "ActionPhase", source: Source) -> int:
    """The number of a phase on the wire.

    :raises NotImplementedError: of a run of this machine, which has none.
    """
    if source.is_local:
        needs_control_plane("raw_phase", "use phase")
    from flyte._wire.identity import phase_to_wire

    return phase_to_wire(phase)


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
