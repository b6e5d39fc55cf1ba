"""What the devbox knows, in SQLite: one thread writes, in groups of what is waiting; the event loop reads.

A write is a list of statements, done together or not at all. What was acknowledged outlives a kill of the process.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ._schema import migrate

Statement = tuple[str, Sequence[Any]]
_GROUP = 500
"""How many writes share one commit at most."""


class Store:
    """The database of one devbox.

    :param path: its file; created, readable by its owner only, if it is not there.
    :raises RuntimeError: a newer release wrote it.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.path = path
        writer = self._connect(check_same_thread=False)
        writer.execute("PRAGMA journal_mode = WAL")
        migrate(writer, str(path))
        self._reader = self._connect(check_same_thread=True)
        self._reader.row_factory = sqlite3.Row
        self._waiting: queue.SimpleQueue[tuple[Sequence[Statement], Future[None]] | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._write_all, args=(writer,), name="flyte-devbox-store", daemon=True)
        self._thread.start()

    def _connect(self, *, check_same_thread: bool) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self.path, isolation_level=None, timeout=10.0, check_same_thread=check_same_thread, cached_statements=256
        )
        # A commit survives the end of this process; what a loss of power may undo is the last moment, never a half.
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    # Writing --------------------------------------------------------------------------------------------------------

    def submit(self, statements: Sequence[Statement]) -> "Future[None]":
        """Write ``statements`` together; the future is done when they are committed. Writes keep their order."""
        done: Future[None] = Future()
        if self._closed:
            done.set_exception(RuntimeError("the devbox is stopping"))
        else:
            self._waiting.put((statements, done))
        return done

    async def write(self, *statements: Statement) -> None:
        """Write ``statements`` together, and wait until they are committed.

        :raises sqlite3.Error: they break a rule of the tables; none of them was done.
        """
        await asyncio.wrap_future(self.submit(statements))

    def _write_all(self, connection: sqlite3.Connection) -> None:
        ended = False
        while not ended:
            group = [self._waiting.get()]
            while len(group) < _GROUP:
                try:
                    group.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            ended = None in group
            self._commit(connection, [one for one in group if one is not None])
        connection.close()

    def _commit(self, connection: sqlite3.Connection, group: list[tuple[Sequence[Statement], "Future[None]"]]) -> None:
        if not group:
            return
        failed: dict[int, BaseException] = {}
        try:
            connection.execute("BEGIN IMMEDIATE")
            for position, (statements, _) in enumerate(group):
                connection.execute("SAVEPOINT one")
                try:
                    for sql, values in statements:
                        connection.execute(sql, values)
                except sqlite3.Error as error:
                    failed[position] = error
                    connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            failed = dict.fromkeys(range(len(group)), error)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        for position, (_, done) in enumerate(group):
            if not done.set_running_or_notify_cancel():
                continue
            if position in failed:
                done.set_exception(failed[position])
            else:
                done.set_result(None)

    # Reading --------------------------------------------------------------------------------------------------------

    def rows(self, sql: str, values: Iterable[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query; called on the thread that made the store."""
        return self._reader.execute(sql, tuple(values)).fetchall()

    def row(self, sql: str, values: Iterable[Any] = ()) -> sqlite3.Row | None:
        """The first row of a query, if there is one."""
        found: sqlite3.Row | None = self._reader.execute(sql, tuple(values)).fetchone()
        return found

    def setting(self, name: str, make: Callable[[], str]) -> str:
        """A value that is made once and kept; called before the devbox listens."""
        found = self.row("SELECT value FROM setting WHERE name = ?", (name,))
        if found is not None:
            return str(found["value"])
        value = make()
        self.submit([("INSERT INTO setting VALUES (?, ?)", (name, value))]).result(timeout=30)
        return value

    def close(self) -> None:
        """Write what is waiting, and close."""
        if not self._closed:
            self._closed = True
            self._waiting.put(None)
            self._thread.join(timeout=30)
            self._reader.close()
