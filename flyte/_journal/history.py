"""Reading the history of runs: what the journal's file holds, at any time and beside any number of writers.

Nothing here runs a user's code, and values stay bytes; :mod:`flyte.remote` makes Python of them. A run that says it
runs, and whose process is gone, is given as ended, and written back as such where that can be done at once.
"""

import json
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from flyte._core.face import nearest
from flyte._core.identity import ROOT_ACTION, ActionPhase

from .alive import is_alive
from .history_entries import (
    ACTIONS_BITS,
    ENDED,
    FAILED,
    ActionEntry,
    AttemptEntry,
    LogEntry,
    RunEntry,
    TaskEntry,
    actions_called,
    several_called,
)  # fmt: skip
from .schema import NotAJournal, journal_path, open_file

LAST = "last"
"""Stands for the name of the run that was started last."""

_BUSY_S = 30.0
_WRITE_BACK_S = 0.1
"""How long writing an unnoticed end waits for others; who reads after us would write it, too."""
_NAMES_SEARCHED = 1000

_RUN = (
    "id, name, task, phase, started_at, ended_at, project, domain, base_dir, recovered_from, writer, pid, host,"
    " program, error, (SELECT name FROM run AS origin WHERE origin.id = run.recovered_from)"
)
_ACTION = (
    "id, run, name, parent, task, grp, phase, attempts, queued_at, started_at, ended_at, cache, source, waiting,"
    # Reading an error means reading past inputs and outputs, which is only worth it where there is one.
    f" CASE WHEN phase IN {FAILED} THEN error END"
)
_TASK = "id, name, version, kind, interface, detail"
_ENDED = f"{ENDED}"
_ABORTED = ActionPhase.ABORTED.value
DELETED = "deleted"
"""Phase of the row that keeps the id of a deleted run from being given out again; it holds nothing else of the run."""

_GONE_CODE = "ProcessEnded"
_GONE = "its process ended before it did"


class NotRemembered(LookupError):
    """No run, or no action, of that name is in the history; the message says what is."""


class History:
    """The runs that the journal remembers.

    Safe to use from several threads. A file that is not there is an empty history.

    :param path: the file; the one of the user's state folder if not given.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or journal_path()
        self._file: sqlite3.Connection | None = None
        self._opened: tuple[int, int, int] | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Let go of the file; it is opened again when needed."""
        with self._lock:
            if self._file is not None and self._opened is not None and self._opened[0] == os.getpid():
                self._file.close()
            self._file = self._opened = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Runs -------------------------------------------------------------------------------------------------------

    def run(self, name: str) -> RunEntry:
        """The latest run called ``name``, or with ``last`` the latest of all.

        :raises NotRemembered: there is none.
        :raises NotAJournal: the file is damaged, or of a later version of flyte.
        """
        where = f"phase != '{DELETED}'" if name == LAST else f"name = ? AND phase != '{DELETED}'"
        row = self._row(
            f"SELECT {_RUN} FROM run WHERE {where} ORDER BY id DESC LIMIT 1", () if name == LAST else (name,)
        )
        if row is None:
            raise NotRemembered(self._no_run(name))
        return self._settled(RunEntry(*row))

    def run_by_id(self, number: int) -> RunEntry | None:
        """The run with this id; None if it was deleted."""
        row = self._row(f"SELECT {_RUN} FROM run WHERE id = ? AND phase != '{DELETED}'", (number,))
        return self._settled(RunEntry(*row)) if row is not None else None

    def runs(
        self,
        *,
        task: str | None = None,
        phases: Sequence[str] | None = None,
        paused_only: bool = False,
        project: str | None = None,
        domain: str | None = None,
        after: float | None = None,
        before: float | None = None,
        oldest_first: bool = False,
        limit: int | None = None,
    ) -> list[RunEntry]:
        """Runs, the newest first.

        :param task: name of the root task, with or without that of its environment.
        :param phases: only runs that stand in one of these.
        :param paused_only: only runs in which an action waits for people.
        :param after: seconds since the epoch; runs that were started then or later.
        :param before: runs that were started earlier than this.
        :param limit: how many at most.
        :raises NotAJournal: the file is damaged, or of a later version of flyte.
        """
        gone = [run.id for run in self._unsettled() if run.has_ended]
        where, given = [f"phase != '{DELETED}'"], list[Any]()
        if task is not None:
            where.append("(task = ? OR task LIKE ? ESCAPE '\\')")
            given += [task, "%." + task.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")]
        for column, value in (("project = ?", project), ("domain = ?", domain)):
            if value is not None:
                where.append(column)
                given.append(value)
        for column, at in (("started_at >= ?", after), ("started_at < ?", before)):
            if at is not None:
                where.append(column)
                given.append(at)
        if phases is not None:
            marks, ids = ", ".join("?" * len(phases)), ", ".join(map(str, gone))
            where.append(f"(id IN ({ids}) OR phase IN ({marks}))" if _ABORTED in phases else
                         f"(id NOT IN ({ids}) AND phase IN ({marks}))")  # fmt: skip
            given += phases
        if paused_only:
            where.append(
                "id IN (SELECT action.run FROM run AS live JOIN action ON action.run = live.id"
                f" WHERE live.phase NOT IN {_ENDED} AND action.phase = '{ActionPhase.PAUSED.value}')"
            )
        order = "id" if oldest_first else "id DESC"
        text = f"SELECT {_RUN} FROM run WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?"
        rows = self._rows(text, (*given, -1 if limit is None else limit))
        return [self._settled(RunEntry(*row)) for row in rows]

    def runs_named(self, name: str) -> list[RunEntry]:
        """Every run called ``name``, or with ``last`` every one called as the latest, the newest first.

        :raises NotRemembered: there is none.
        """
        if name == LAST:
            name = self.run(LAST).name
        text = f"SELECT {_RUN} FROM run WHERE name = ? AND phase != '{DELETED}' ORDER BY id DESC"
        found = [self._settled(RunEntry(*row)) for row in self._rows(text, (name,))]
        if not found:
            raise NotRemembered(self._no_run(name))
        return found

    def recovered_by(self, run: int) -> list[RunEntry]:
        """The runs that were recovered from this one."""
        text = f"SELECT {_RUN} FROM run WHERE recovered_from = ? AND phase != '{DELETED}'"
        return [RunEntry(*row) for row in self._rows(text, (run,))]

    def counts(self, run: int) -> dict[str, int]:
        """How many actions of a run stand in each phase."""
        entry = self.run_by_id(run)
        counted: Counter[str] = Counter()
        rows = self._rows("SELECT phase, count(*) FROM action WHERE id >= ? AND id < ? GROUP BY phase", span(run))
        for phase, count in rows:
            counted[_ABORTED if entry is not None and entry.has_ended and phase not in ENDED else phase] += count
        return dict(counted)

    def _no_run(self, name: str) -> str:
        if name == LAST:
            return f"no run is remembered yet in {self.path}"
        text = f"SELECT name FROM run WHERE phase != '{DELETED}' ORDER BY id DESC LIMIT {_NAMES_SEARCHED}"
        names = [row[0] for row in self._rows(text)]
        if not names:
            return f"no run {name!r} is remembered: the history in {self.path} is empty"
        return f"no run {name!r} is remembered{_hint(name, names)}; 'flyte get run' lists those that are"

    # Actions ------------------------------------------------------------------------------------------------------

    def actions(self, run: int) -> list[ActionEntry]:
        """All actions of a run in the order in which they began; no values, which are read when asked for."""
        return self._actions_where(run, "", ())

    def action(self, run: RunEntry, name: str | None = None) -> ActionEntry:
        """One action of a run.

        :param name: its name; that of its task will do where the run has only one action of it, and so will the first
            letters of a name. The run's first action if not given.
        :raises NotRemembered: there is none, or more than one.
        """
        found = self._actions_where(run.id, "AND name = ?", (name or ROOT_ACTION,))
        if not found and name is None:
            raise NotRemembered(f"run {run.name!r} had not begun an action when it ended")
        if not found and name is not None:
            found = self._actions_like(run, name)
        return found[0]

    def action_by_id(self, number: int) -> ActionEntry | None:
        """The action with this id; None if it was deleted."""
        found = self._actions_where(number >> ACTIONS_BITS, "AND id = ?", (number,))
        return found[0] if found else None

    def children(self, action: ActionEntry) -> list[ActionEntry]:
        """The actions that an action has begun."""
        return self._actions_where(action.run, "AND parent = ?", (action.id,))

    def _actions_where(self, run: int, condition: str, given: Sequence[Any]) -> list[ActionEntry]:
        # The run first: an action that is read after its run has ended is read as it ended.
        entry = self.run_by_id(run)
        text = f"SELECT {_ACTION} FROM action WHERE id >= ? AND id < ? {condition}"
        found = list(map(ActionEntry._make, self._rows(text, (*span(run), *given))))
        if entry is None or not entry.has_ended:
            return found
        # What seems to run in a run that has ended has ended with it.
        return [action if action.phase in ENDED else _left(action, entry) for action in found]

    def _actions_like(self, run: RunEntry, name: str) -> list[ActionEntry]:
        actions = self.actions(run.id)
        tasks = self.tasks({action.task for action in actions})
        found = actions_called(name, actions, tasks)
        if len(found) == 1:
            return found
        if found:
            raise NotRemembered(several_called(run.name, name, found))
        known = [task.name.rpartition(".")[2] for task in tasks.values()] + [action.name for action in actions[:1000]]
        raise NotRemembered(
            f"run {run.name!r} has no action {name!r}{_hint(name, known)}; 'flyte get action {run.name}' lists them"
        )

    def tasks(self, numbers: Iterable[int]) -> dict[int, TaskEntry]:
        """Tasks by their ids."""
        found: dict[int, TaskEntry] = {}
        for some in _portions(sorted(set(numbers))):
            marks = ", ".join("?" * len(some))
            found |= {
                row[0]: TaskEntry(*row) for row in self._rows(f"SELECT {_TASK} FROM task WHERE id IN ({marks})", some)
            }
        return found

    def task(self, number: int) -> TaskEntry:
        """The task with this id."""
        return self.tasks([number]).get(number) or TaskEntry(number, "?", "", "task", None, "{}")

    def values(self, action: int) -> tuple[bytes | str | None, bytes | str | None]:
        """Inputs and outputs of an action as the journal keeps them; see :func:`flyte._journal.values.fetch`.

        What an action made that did not end well is no result, so it has no outputs.
        """
        done = f"phase IN ('{ActionPhase.SUCCEEDED.value}', '{ActionPhase.RECOVERED.value}')"
        text = f"SELECT inputs, CASE WHEN {done} THEN outputs END FROM action WHERE id = ?"
        row = self._row(text, (action,))
        return (row[0], row[1]) if row is not None else (None, None)

    def attempts(self, action: ActionEntry) -> list[AttemptEntry]:
        """All attempts of an action, the last one included."""
        text = "SELECT number, started_at, ended_at, error FROM attempt WHERE action = ? ORDER BY number"
        failed = [AttemptEntry(*row) for row in self._rows(text, (action.id,))]
        if len(failed) < action.attempts:
            began = action.started_at or action.queued_at
            failed.append(AttemptEntry(action.attempts - 1, began, action.ended_at, action.error))
        return failed

    def logs(self, run: int, action: int | None = None, after: int = 0) -> list[LogEntry]:
        """The lines that a run, or one action of it, wrote.

        :param after: id of a line that is known, with all before it.
        """
        text = "SELECT id, action, at, source, line FROM log WHERE run = ? AND id > ?"
        if action is None:
            return list(map(LogEntry._make, self._rows(f"{text} ORDER BY id", (run, after))))
        return list(map(LogEntry._make, self._rows(f"{text} AND action = ? ORDER BY id", (run, after, action))))

    def cached_like(self, action: ActionEntry, task: str, limit: int = 200) -> list[ActionEntry]:
        """Earlier calls of ``task`` whose results the cache got, or had, the latest first."""
        numbers = [row[0] for row in self._rows("SELECT id FROM task WHERE name = ? AND kind = 'task'", (task,))]
        marks = ", ".join("?" * len(numbers))
        text = (
            f"SELECT {_ACTION} FROM action WHERE id < ? AND task IN ({marks}) AND cache IN ('hit', 'miss', 'refresh')"
            " AND phase = 'succeeded' ORDER BY id DESC LIMIT ?"
        )
        return [ActionEntry._make(row) for row in self._rows(text, (action.id, *numbers, limit))]

    # Runs whose process is gone --------------------------------------------------------------------------------------

    def _unsettled(self) -> list[RunEntry]:
        text = f"SELECT {_RUN} FROM run WHERE phase NOT IN {_ENDED} AND phase != '{DELETED}'"
        return [self._settled(RunEntry(*row)) for row in self._rows(text)]

    def _settled(self, run: RunEntry) -> RunEntry:
        """``run``, as ended if its process is gone."""
        if run.has_ended or is_alive(run.writer):
            return run
        # It may have ended, and said so, between the two looks.
        row = self._row(f"SELECT {_RUN} FROM run WHERE id = ?", (run.id,))
        if row is None or row[3] in (*ENDED, DELETED):
            return RunEntry(*row) if row is not None else run
        last = self._row(
            "SELECT max(max(queued_at, coalesce(started_at, 0), coalesce(ended_at, 0))) FROM action"
            " WHERE id >= ? AND id < ?",
            span(run.id),
        )
        said = self._row("SELECT max(at) FROM log WHERE run = ?", (run.id,))
        times = [run.started_at, *(row[0] for row in (last, said) if row is not None and row[0] is not None)]
        ended = replace(run, phase=_ABORTED, ended_at=max(times), error=gone(run.name))
        self._write_back(ended)
        return ended

    def _write_back(self, run: RunEntry) -> None:
        with self._lock:
            file = self._connection()
            if file is None:
                return
            try:
                file.execute(f"PRAGMA busy_timeout={round(_WRITE_BACK_S * 1000)}")
                file.execute("BEGIN IMMEDIATE")
                file.execute(
                    f"UPDATE run SET phase = ?, ended_at = ?, error = ? WHERE id = ? AND phase NOT IN {_ENDED}",
                    (run.phase, run.ended_at, run.error, run.id),
                )
                file.execute(
                    "UPDATE action SET phase = ?, ended_at = ?, error = ?, waiting = NULL"
                    f" WHERE id >= ? AND id < ? AND phase NOT IN {_ENDED}",
                    (run.phase, run.ended_at, gone(), *span(run.id)),
                )
                file.execute("COMMIT")
            except sqlite3.Error:  # busy, read-only, full: the next reader will do
                if file.in_transaction:
                    file.execute("ROLLBACK")
            finally:
                file.execute(f"PRAGMA busy_timeout={round(_BUSY_S * 1000)}")

    # The file ---------------------------------------------------------------------------------------------------------

    def _connection(self) -> sqlite3.Connection | None:
        """The open file; None where there is none. Needs ``_lock``."""
        try:
            found = os.stat(self.path)
        except OSError:
            self.close()
            return None
        identity = (os.getpid(), found.st_dev, found.st_ino)  # another one may have come in its place
        if self._file is None or self._opened != identity:
            self.close()
            self._file, self._opened = open_file(self.path, _BUSY_S), identity
        return self._file

    def _rows(self, text: str, given: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            file = self._connection()
            if file is None:
                return []
            with _told(self.path):
                return file.execute(text, given).fetchall()

    def _row(self, text: str, given: Sequence[Any] = ()) -> Any:
        rows = self._rows(text, given)
        return rows[0] if rows else None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection | None]:
        """The file in a transaction of its own, which is taken back if the block fails.

        :raises NotAJournal: it is damaged, cannot be written, or another process holds it for too long.
        """
        with self._lock:
            file = self._connection()
            if file is None:
                yield None
                return
            with _told(self.path):
                file.execute("BEGIN IMMEDIATE")
                try:
                    yield file
                    file.execute("COMMIT")
                except BaseException:
                    if file.in_transaction:
                        file.execute("ROLLBACK")
                    raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise NotAJournal(
            f"the history in {path} cannot be used ({error}); to start a new one, move it away: mv {path} {path}.broken"
        ) from error


def span(run: int) -> tuple[int, int]:
    """The first id of an action of a run, and the first one after."""
    return run << ACTIONS_BITS, (run + 1) << ACTIONS_BITS


def gone(run: str | None = None) -> str:
    """The error of what was running when its process ended, as JSON.

    :param run: name of the run, if the error is the run's own.
    """
    remedy = f"; 'flyte rerun {run} --recover' continues it" if run is not None else ""
    return _fault(_GONE_CODE, _GONE + remedy)


def _fault(code: str, message: str) -> str:
    return json.dumps({"type": code, "code": code, "kind": "system", "message": message, "traceback": ""})


def _left(action: ActionEntry, run: RunEntry) -> ActionEntry:
    """An action that had not ended when its run did."""
    fault = run.fault
    by_death = fault is not None and fault.code == _GONE_CODE
    error = gone() if by_death else _fault("RunEnded", "its run ended before it did")
    return action._replace(phase=_ABORTED, ended_at=run.ended_at, error=error, waiting=None)


def _hint(name: str, known: list[str]) -> str:
    starting = [one for one in known if len(name) >= 3 and one.startswith(name)]
    return f"; did you mean {starting[0]!r}?" if len(starting) == 1 else nearest(name, known)


def _portions(numbers: list[int], size: int = 500) -> Iterator[list[int]]:
    for start in range(0, len(numbers), size):
        yield numbers[start : start + size]
