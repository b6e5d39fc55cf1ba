"""A recorded run, as replay takes results from it and compares calls with it."""

import builtins
import json
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import flyte.errors as errors
from flyte._control.recovery import Found, _version_now
from flyte._core.environ import environment
from flyte._core.raised import error_made_from, read_line
from flyte._journal import values
from flyte._journal.history import History, NotRemembered
from flyte._journal.history_entries import Fault, RunEntry
from flyte._journal.schema import journal_path, open_file

from ._home import test_home

Changed = Literal["reuse", "run", "error"]

ROOT = b"root"
_DONE = ("succeeded", "recovered")
_FAILED = ("failed", "timed_out")
_BUSY_S = 30.0
_SELECT = (
    "SELECT a.id, a.key, a.name, p.key, t.name, t.version, t.kind, a.grp, a.phase, a.below, a.inputs, a.outputs,"
    " a.error FROM action a JOIN task t ON t.id = a.task LEFT JOIN action p ON p.id = a.parent WHERE a.run = ?"
    " ORDER BY a.id"
)


@dataclass(frozen=True, slots=True)
class Row:
    """A recorded action; the columns are the journal's."""

    id: int
    key: bytes
    name: str
    parent: bytes | None
    """Key of the action that called it."""
    task: str
    version: str
    kind: str
    group: str | None
    phase: str
    below: str | None
    inputs: bytes | str | None
    outputs: bytes | str | None
    error: str | None

    @property
    def has_outcome(self) -> bool:
        """Whether it ended with a result or an error that is known."""
        return (self.phase in _DONE and self.outputs is not None) or (self.phase in _FAILED and bool(self.error))


class Unrecorded(Exception):
    """A call that the recorded run did not make, or had not finished."""


class RecordedFailure(Exception):
    """The recorded call failed; carries what it raised past code that treats errors as its own."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.line)
        self.fault = fault


class ChangedCode(Exception):
    """The recorded call was of other code."""


class Recording:
    """What a run did; takes the place of the past that recovery asks.

    :param home: the state folder that it is in.
    :param run: the run.
    :param rows: its actions.
    :param changed: what becomes of an action whose code has changed since.
    """

    def __init__(self, home: Path, run: RunEntry, rows: list[Row], changed: Changed) -> None:
        self.home = home
        self.entry = run
        self.run = run.id
        self.name = run.name
        self.base_dirs: tuple[str, ...] = ()
        self.rows = {row.key: row for row in rows}
        self.asked: set[bytes] = set()
        self.live: set[bytes] = {ROOT}
        """Keys of actions whose bodies run now."""
        self._changed = changed
        self._versions = self._task_versions()

    @property
    def root(self) -> Row:
        """The root action."""
        return self.rows[ROOT]

    def _task_versions(self) -> dict[int, tuple[str, str, str]]:
        with closing(open_file(_journal_of(self.home), _BUSY_S)) as file:
            return {row[0]: row[1:] for row in file.execute("SELECT id, name, version, kind FROM task")}

    def find(self, key: bytes, version: str, inputs_hash: str | None = None) -> Found | None:
        """The recorded outcome of an action; None for one that is to run.

        :raises Unrecorded: there is none.
        :raises RecordedFailure: it is an error.
        :raises ChangedCode: its code has changed, and that counts.
        """
        if inputs_hash is not None:  # the root
            return None
        row = self.rows.get(key)
        if row is None or not row.has_outcome:
            raise Unrecorded
        self.asked.add(key)
        below = tuple(json.loads(row.below)) if row.below else ()
        if self._changed != "reuse" and (row.version != version or not all(map(self._is_current, below))):
            if self._changed == "error":
                raise ChangedCode
            self.live.add(key)
            return None
        if row.phase in _FAILED:
            raise RecordedFailure(self.fault_of(row))
        assert row.outputs is not None
        return Found(row.id, below, self.fetch(row.outputs))

    def fetch(self, kept: bytes | str) -> bytes:
        """The bytes of a recorded value."""
        with environment({"FLYTE_HOME": str(self.home)}):
            return values.fetch(kept)

    def _is_current(self, task: int) -> bool:
        name, version, kind = self._versions.get(task, ("", "", "task"))
        return kind != "task" or _version_now(name) == version

    def fault_of(self, row: Row) -> Fault:
        """What an action raised."""
        fault = Fault.of(row.error)
        assert fault is not None
        return fault

    def close(self) -> None:
        """Nothing more is asked."""

    def children(self, parent: bytes | None) -> list[Row]:
        """The actions that one called."""
        return [row for row in self.rows.values() if row.parent == parent and row.key != parent]

    def left_out(self) -> list[Row]:
        """Calls of the bodies that have run now that were not made this time."""
        return [
            row
            for row in self.rows.values()
            if row.parent in self.live and row.key not in self.asked and row.key != ROOT and row.has_outcome
        ]


def read_recording(run_name: str, home: Path | None, changed: Changed) -> Recording:
    """The recording of a run, from ``home``, else from the state folder of tests, else from the user's own.

    :raises NotRemembered: there is no such run.
    """
    folders = [home] if home is not None else [test_home(), journal_path().parent.parent]
    said: NotRemembered | None = None
    for folder in folders:
        path = _journal_of(folder)
        if not path.exists():
            continue
        with History(path) as history:
            try:
                run = history.run(run_name)
            except NotRemembered as error:
                said = error
                continue
        with closing(open_file(path, _BUSY_S)) as file:
            rows = [Row(*columns) for columns in _rows(file, run.id)]
        return Recording(folder, run, rows, changed)
    raise said or NotRemembered(f"no run {run_name!r} is remembered in {', '.join(map(str, folders))}")


def _rows(file: sqlite3.Connection, run: int) -> list[Any]:
    return file.execute(_SELECT, (run,)).fetchall()


def _journal_of(home: Path) -> Path:
    return home / "local" / "journal.db"


def error_of(failure: RecordedFailure, scope: dict[str, Any]) -> BaseException:
    """The recorded error: of its own class where that can be found by name, else a RuntimeUserError.

    :param scope: names that the caller's code knows.
    """
    fault = failure.fault
    raised = read_line(fault.raised)
    if raised is not None:
        kind: Any = fault.kind
        told = error_made_from(raised, fault.message, code=fault.code, kind=kind, known=[scope])
        if told is not None:
            return told
    for place in (vars(errors), scope, vars(builtins), *(vars(m) for m in (sys.modules.get("__main__"),) if m)):
        found = place.get(fault.type)
        if not (isinstance(found, type) and issubclass(found, Exception)):
            continue
        try:
            error = found.__new__(found, fault.message)
        except Exception:  # a class whose __new__ wants more than a message
            continue
        error.args = (fault.message,)
        if isinstance(error, errors.BaseRuntimeError):
            kind = fault.kind
            error.code, error.kind, error.worker = fault.code, kind, None
        return errors.user_error_from(error)
    return errors.RuntimeUserError(fault.code, fault.message)
