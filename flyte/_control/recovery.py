"""What an earlier run has already done, and whether it is still the same work."""

import json
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from flyte._definition.task import declared
from flyte._journal.alive import is_alive
from flyte._journal.schema import actions_of, open_file
from flyte.errors import RunRecoveryError

from .attempt import plan_of

_DONE = "('succeeded', 'recovered')"
_KEYS = f"SELECT key, id FROM action WHERE id BETWEEN ? AND ? AND phase IN {_DONE} AND outputs IS NOT NULL"
_FIND = "SELECT a.id, t.version, a.below, a.outputs FROM action a JOIN task t ON t.id = a.task WHERE a.id = ?"
_BUSY_S = 30.0


@dataclass(frozen=True, slots=True)
class Found:
    """An action of an earlier run that has ended well.

    :param action: its id.
    :param below: ids of the tasks that ran below it.
    :param outputs: its results, as the journal keeps them.
    """

    action: int
    below: tuple[int, ...]
    outputs: bytes | str


class Past:
    """The runs that a run is recovered from, the latest first: the one named, the one that was recovered from, ...

    :param file: a connection to the journal, for reading.
    :param runs: id and hash of the root's inputs of each.
    :param base_dirs: where each has its data.
    """

    def __init__(
        self, file: sqlite3.Connection, runs: list[tuple[int, str | None]], name: str, base_dirs: tuple[str, ...]
    ) -> None:
        self._file = file
        self._runs = runs
        self.run = runs[0][0]
        self.name = name
        self.base_dirs = base_dirs
        self._keys: dict[int, dict[bytes, int]] = {}
        self._current: dict[int, bool] = {}
        self._lock = threading.Lock()

    @classmethod
    def of(cls, path: Path, named: str, task: str) -> Self:
        """The run called ``named``, or the last one of ``task`` that has ended.

        :raises RunRecoveryError: there is none, it still runs, or it is of another task.
        """
        file = open_file(path, _BUSY_S)
        try:
            row = _run_named(file, named, task)
            runs: list[tuple[int, str | None]] = []
            name, base_dirs = row[1], []
            while row is not None and row[0] not in [run for run, _ in runs]:
                runs.append((row[0], row[6]))
                base_dirs.append(row[5])
                row = file.execute(f"{_SELECT} WHERE id = ?", (row[7],)).fetchone() if row[7] else None
            return cls(file, runs, name, tuple(base_dirs))
        except BaseException:
            file.close()
            raise

    def find(self, key: bytes, version: str, inputs_hash: str | None = None) -> Found | None:
        """The action with this key, if it ended well and neither it nor anything below it has changed since.

        :param version: of the work, as it is now.
        :param inputs_hash: of the root, whose key does not tell its inputs.
        """
        with self._lock:  # traced functions ask from the threads of sync bodies, too
            for run, root_inputs in self._runs:
                if inputs_hash is not None and root_inputs != inputs_hash:
                    continue
                action = self._keys_of(run).get(key)
                row = self._file.execute(_FIND, (action,)).fetchone() if action is not None else None
                if row is None or row[1] != version:
                    continue
                below = tuple(json.loads(row[2])) if row[2] else ()
                if all(self._is_current(task) for task in below):
                    return Found(row[0], below, row[3])
        return None

    def _keys_of(self, run: int) -> dict[bytes, int]:
        """Key -> id of the actions of a run that ended well."""
        keys = self._keys.get(run)
        if keys is None:
            keys = self._keys[run] = dict(self._file.execute(_KEYS, actions_of(run)))
        return keys

    def _is_current(self, task: int) -> bool:
        """Whether a task that ran then has the same code now; one that is not known now counts as changed."""
        known = self._current.get(task)
        if known is None:
            row = self._file.execute("SELECT name, version, kind FROM task WHERE id = ?", (task,)).fetchone()
            # A traced function is reached by the code of the task that calls it, which is compared by itself.
            known = row is not None and (row[2] != "task" or _version_now(row[0]) == row[1])
            self._current[task] = known
        return known

    def close(self) -> None:
        """Nothing more is asked."""
        with self._lock:
            self._file.close()


def _version_now(name: str) -> str | None:
    task = declared.get(name)
    return plan_of(task).work_version if task is not None else None


_SELECT = "SELECT id, name, task, phase, writer, base_dir, inputs_hash, recovered_from, pid FROM run"


def _run_named(file: sqlite3.Connection, named: str, task: str) -> Any:
    if named == "last":
        for row in file.execute(f"{_SELECT} WHERE task = ? ORDER BY id DESC", (task,)):
            if row[3] != "running" or not is_alive(row[4]):
                return row
        raise RunRecoveryError(
            f"recover_from='last' found no earlier run of task {task!r} that has ended; see 'flyte get run'"
        )
    row = file.execute(f"{_SELECT} WHERE name = ? ORDER BY id DESC LIMIT 1", (named,)).fetchone()
    if row is None:
        raise RunRecoveryError(f"recover_from={named!r} names no run that is remembered; see 'flyte get run'")
    if row[3] == "running" and is_alive(row[4]):
        raise RunRecoveryError(
            f"run {named!r} still runs, in process {row[8]}; wait for its end, or stop it, before recovering from it"
        )
    if row[2] != task:
        raise RunRecoveryError(f"run {named!r} is of task {row[2]!r}, so task {task!r} has nothing to recover from it")
    return row
