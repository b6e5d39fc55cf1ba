"""Writing to the journal: one writer a process and file, whose rows are committed together.

A commit costs about fifteen microseconds and a row four, so whoever waits for one waits together with everybody else of
the same turn of the event loop. A file that is busy for longer is waited for in a thread, never on the event loop. What
goes wrong is said once and never reaches the run.
"""

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from flyte._core.log import logger

from .alive import writer_name
from .schema import NotAJournal, journal_path, open_file

_INLINE_BUSY_S = 0.005
"""How long a commit on the event loop waits for another process; a commit of theirs takes well under a millisecond."""
_BUSY_S = 30.0
_LAZY_S = 0.05
"""What nobody waits for is written at most this much later."""
_AGAIN_S = 0.0005
"""How soon an event loop looks again when another thread of the process is writing."""
_FOLDED_EVERY = 2000
"""After so many commits the write-ahead log is folded into the file, in a thread, because that waits for the disk."""

ACTION = f"INSERT OR REPLACE INTO action VALUES ({', '.join('?' * 19)})"
TASK = "INSERT OR IGNORE INTO task (id, name, version, kind, interface, detail) VALUES (?, ?, ?, ?, ?, ?)"


_IMPATIENT = nullcontext()


class ActionRow(Protocol):
    """An action as the writer sees it."""

    id: int

    def row(self) -> tuple[Any, ...]:
        """The columns of the table ``action``; asked at the moment of writing, on any thread."""
        ...


class Writer:
    """Writes rows to one journal; safe to use from several threads and event loops.

    :param path: the file, which is made if it is not there.
    :raises NotAJournal: it cannot be used.
    :raises OSError: the state folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = writer_name()
        self.broken = False
        self._pid = os.getpid()
        self._file = open_file(path, _INLINE_BUSY_S)
        self._file.execute("PRAGMA wal_autocheckpoint=0")
        self._writing = threading.Lock()
        """Held by whoever uses the file; never waited for on an event loop."""
        self._lock = threading.Lock()
        """Held for a moment, by whoever touches what is to be written."""
        self._actions: dict[int, ActionRow] = {}
        self._open: dict[int, ActionRow] = {}
        self._others: list[tuple[str, Sequence[Any]]] = []
        self._waiting: list[asyncio.Future[None]] = []
        self._soon: set[asyncio.AbstractEventLoop] = set()
        self._later: set[asyncio.AbstractEventLoop] = set()
        self._patient = False
        self._commits = 0
        self._folding: threading.Thread | None = None

    @property
    def is_of_this_process(self) -> bool:
        """False in a forked child, where an SQLite connection of the parent must not be used."""
        return self._pid == os.getpid()

    # Rows -----------------------------------------------------------------------------------------------------

    def insert_run(self, columns: dict[str, Any]) -> int:
        """Write a run at once, waiting for other processes if need be, and give its id.

        :raises sqlite3.Error: it cannot be written.
        """
        names = ", ".join(columns)
        marks = ", ".join("?" * len(columns))
        with self._writing, self._busy_for(_BUSY_S):
            statement = f"INSERT INTO run ({names}) VALUES ({marks})"
            return int(self._file.execute(statement, tuple(columns.values())).lastrowid or 0)

    def put_action(self, action: ActionRow) -> None:
        """Write an action, as it is when the time comes; see :meth:`commit`."""
        with self._lock:
            self._actions[action.id] = action

    def put(self, statement: str, values: Sequence[Any]) -> None:
        """Write something else with the next commit."""
        with self._lock:
            self._others.append((statement, values))

    # Commits --------------------------------------------------------------------------------------------------

    def commit(self, loop: asyncio.AbstractEventLoop, action: ActionRow | None = None) -> "asyncio.Future[None]":
        """A future, of this event loop, that is done when everything put so far, and ``action``, is written."""
        future = loop.create_future()
        with self._lock:
            if action is not None:
                self._actions[action.id] = action
            self._waiting.append(future)
        if loop not in self._soon:
            self._soon.add(loop)
            loop.call_soon(self._commit_soon, loop)
        return future

    def commit_alone(self, loop: asyncio.AbstractEventLoop, action: ActionRow) -> bool:
        """Write what was put, and ``action``, at once, if nobody could join in; False if somebody may.

        When nothing else is ready to run on the loop, waiting for company only costs two of its turns.
        """
        # A detail of asyncio's own loops; on another kind of loop the answer is the careful one.
        if getattr(loop, "_ready", True) or self._soon or self._waiting or self._patient:
            return False
        if self._actions or self._others or self.broken:
            with self._lock:
                self._actions[action.id] = action
            return self.flush() and not self._patient
        if not self._writing.acquire(blocking=False):
            return False
        try:
            self._file.execute(ACTION, action.row())
        except sqlite3.Error:  # busy, or worse: the long way finds out, and says so
            return False
        finally:
            self._writing.release()
        self._count_commit()
        return True

    def put_open(self, action: ActionRow, loop: asyncio.AbstractEventLoop) -> None:
        """Write an action that runs, if it still does after a moment; :meth:`close_action` ends that.

        Most have ended by then, and are written once.
        """
        self._open[action.id] = action
        if loop not in self._later:
            self.commit_later(loop)

    def close_action(self, action: ActionRow) -> None:
        """The action of :meth:`put_open` has ended, and is put by other means."""
        self._open.pop(action.id, None)

    def commit_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """See that what was put is written soon, also when nobody waits for it."""
        if loop not in self._later:
            self._later.add(loop)
            loop.call_later(_LAZY_S, self._commit_later, loop)

    def _commit_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._soon.discard(loop)
        if not self.flush():
            self._soon.add(loop)
            loop.call_later(_AGAIN_S, self._commit_soon, loop)

    def _commit_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._later.discard(loop)
        if self._open:
            with self._lock:
                self._actions = {**self._open, **self._actions}
                self._open.clear()
        if not self.flush():
            self.commit_later(loop)

    def flush(self, wait_s: float = 0.0) -> bool:
        """Write what was put; False when somebody else has the file, and a thread, or another one, goes on.

        :param wait_s: how long to block when the file is busy.
        """
        taken = self._writing.acquire(timeout=wait_s) if wait_s else self._writing.acquire(blocking=False)
        if not taken:
            return self._patient  # the thread takes this along
        try:
            if self._write(0.0) or (wait_s and self._write(wait_s)):
                return True
            self._patient = True
        finally:
            self._writing.release()
        threading.Thread(target=self._write_patiently, name="flyte-journal", daemon=True).start()
        return True

    def _write_patiently(self) -> None:
        with self._writing:
            while True:
                if not self._write(_BUSY_S):
                    self._give_up(f"another process has held {self.path} for {_BUSY_S:g} s")
                with self._lock:
                    if not self._actions and not self._others and not self._waiting:
                        self._patient = False
                        return

    def _write(self, busy_s: float) -> bool:
        """Write everything and tell who waits; False when another process holds the file. Needs ``_writing``."""
        with self._lock:
            actions, others, waiting = self._actions, self._others, self._waiting
            self._actions, self._others, self._waiting = {}, [], []
        if (actions or others) and not self.broken:
            file = self._file
            try:
                with self._busy_for(busy_s):
                    if len(actions) == 1 and not others:
                        # One statement is a transaction by itself, for half the cost.
                        file.execute(ACTION, next(iter(actions.values())).row())
                    else:
                        file.execute("BEGIN IMMEDIATE")
                        if actions:
                            file.executemany(ACTION, [action.row() for action in actions.values()])
                        for statement, values in others:
                            file.execute(statement, values)
                        file.execute("COMMIT")
            except sqlite3.Error as error:
                if file.in_transaction:
                    file.execute("ROLLBACK")
                if _is_busy(error):
                    with self._lock:
                        self._actions = {**actions, **self._actions}
                        self._others = others + self._others
                        self._waiting = waiting + self._waiting
                    return False
                self._give_up(str(error))
            self._count_commit()
        _release(waiting)
        return True

    def _count_commit(self) -> None:
        self._commits += 1
        if self._commits % _FOLDED_EVERY == 0:
            self._fold()

    def _busy_for(self, busy_s: float) -> AbstractContextManager[None]:
        return self._patience(busy_s) if busy_s else _IMPATIENT

    @contextmanager
    def _patience(self, busy_s: float) -> Iterator[None]:
        self._file.execute(f"PRAGMA busy_timeout={round(busy_s * 1000)}")
        try:
            yield
        finally:
            self._file.execute(f"PRAGMA busy_timeout={round(_INLINE_BUSY_S * 1000)}")

    def _give_up(self, why: str) -> None:
        self.broken = True
        with self._lock:
            waiting = self._waiting
            self._actions, self._others, self._waiting = {}, [], []
        logger.warning(
            "the history of this process's runs ends here, because it cannot be written: %s. The runs go on, but "
            "cannot be recovered",
            why,
        )
        _release(waiting)

    # The write-ahead log ------------------------------------------------------------------------------------------

    def _fold(self) -> None:
        if self._folding is None or not self._folding.is_alive():
            self._folding = threading.Thread(target=_fold, args=(self.path,), name="flyte-journal-fold", daemon=True)
            self._folding.start()


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _release(waiting: list["asyncio.Future[None]"]) -> None:
    here = asyncio._get_running_loop()
    for future in waiting:
        loop = future.get_loop()
        if loop is here:
            _resolve(future)
        else:
            try:
                loop.call_soon_threadsafe(_resolve, future)
            except RuntimeError:  # the loop was closed: nobody waits any more
                pass


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():  # cancelled with the task that waits
        future.set_result(None)


def _fold(path: Path) -> None:
    try:
        file = sqlite3.connect(path, timeout=0.1, isolation_level=None)
        try:
            file.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            file.close()
    except sqlite3.Error as error:  # the next time will do
        logger.debug("the journal's log could not be folded in: %s", error)


_writers: dict[str, Writer | None] = {}
_writers_lock = threading.Lock()


def writer() -> Writer | None:
    """The writer to the journal of the state folder in force; None, after one warning, where it cannot be used."""
    home = os.environ.get("FLYTE_HOME", "")
    known = _writers.get(home)
    if known is not None and known.is_of_this_process and not known.broken:
        return known
    with _writers_lock:
        known = _writers.get(home)
        if home not in _writers or (known is not None and (known.broken or not known.is_of_this_process)):
            _writers[home] = _open()
        return _writers[home]


def _open() -> Writer | None:
    try:
        return Writer(journal_path())
    except (NotAJournal, sqlite3.Error, OSError) as error:
        logger.warning("runs are not remembered and cannot be recovered: %s", error)
        return None


def now() -> float:
    """Seconds since the epoch, as the journal keeps times."""
    return time.time()
