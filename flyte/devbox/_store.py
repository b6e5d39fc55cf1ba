"""What the devbox knows, in SQLite: one thread writes, in groups of what is waiting; the event loop reads.

A write is a list of statements, done together or not at all. What was acknowledged outlives a kill of the process.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ._schema import migrate

Statement = tuple[str, Sequence[Any]]
_Write = tuple[Sequence[Statement], "asyncio.Future[None]", asyncio.AbstractEventLoop]
_GROUP = 500
"""After how many writes a commit takes no more of them."""


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
        self._waiting: queue.SimpleQueue[list[_Write] | None] = queue.SimpleQueue()
        self._batch: list[_Write] = []
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

    def submit(self, statements: Sequence[Statement]) -> "asyncio.Future[None]":
        """Write ``statements`` together; the future is done when they are committed. Writes keep their order.

        Called on the event loop of the thread that made the store, which is told once for each group of writes. All
        that one turn of the loop submits is handed over together: the two threads wake each other less often.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        if self._closed:
            done.set_exception(RuntimeError("the devbox is stopping"))
        else:
            if not self._batch:
                loop.call_soon(self._hand_over)
            self._batch.append((statements, done, loop))
        return done

    def _hand_over(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            self._waiting.put(batch)

    async def write(self, *statements: Statement) -> None:
        """Write ``statements`` together, and wait until they are committed, and with them all that came before.

        Whoever is told that a thing is done, such as that an action was aborted, is told so after that: a devbox that
        is killed then knows it when it is started again.

        :raises sqlite3.Error: they break a rule of the tables; none of them was done.
        """
        await self.submit(statements)

    def _write_all(self, connection: sqlite3.Connection) -> None:
        ended = False
        while not ended:
            writes: list[_Write] = []
            batch = self._waiting.get()
            while batch is not None:
                writes += batch
                if len(writes) >= _GROUP:
                    break
                try:
                    batch = self._waiting.get_nowait()
                except queue.Empty:
                    break
            ended = batch is None
            if writes:
                failed = _commit(connection, [statements for statements, _, _ in writes])
                _tell(writes, failed)
        connection.close()

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
        connection = self._connect(check_same_thread=True)
        try:
            connection.execute("INSERT INTO setting VALUES (?, ?)", (name, value))
        finally:
            connection.close()
        return value

    def close(self) -> None:
        """Write what is waiting, and close."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._waiting.put(None)
            self._thread.join(timeout=30)
            self._reader.close()


def _commit(connection: sqlite3.Connection, group: list[Sequence[Statement]]) -> dict[int, sqlite3.Error]:
    """Write a group in one transaction, and give what failed, by position."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        for statements in group:
            for sql, values in statements:
                connection.execute(sql, values)
        connection.execute("COMMIT")
        return {}
    except sqlite3.Error:
        # One of them is at fault: each by itself, so that the others are written.
        _roll_back(connection)
    failed: dict[int, sqlite3.Error] = {}
    for position, statements in enumerate(group):
        try:
            connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                connection.execute(sql, values)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            failed[position] = error
            _roll_back(connection)
    return failed


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _tell(writes: list[_Write], failed: dict[int, sqlite3.Error]) -> None:
    """Finish the futures of a group, with one message to each event loop."""
    groups: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[None], sqlite3.Error | None]]] = {}
    for position, (_, done, loop) in enumerate(writes):
        groups.setdefault(loop, []).append((done, failed.get(position)))
    for loop, results in groups.items():
        try:
            loop.call_soon_threadsafe(_finish, results)
        except RuntimeError:
            pass  # the loop has ended, and nobody waits any more


def _finish(results: list[tuple["asyncio.Future[None]", sqlite3.Error | None]]) -> None:
    for done, error in results:
        if done.cancelled():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
