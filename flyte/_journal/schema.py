"""The journal's file: its tables, its numbered migrations, and opening it.

Ids of actions are ``run << 32 | n``, so that one process may number its actions without asking the file, and the
actions of a run stand together.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flyte._core.home import home_dir

INLINE_BYTES = 256 * 1024
"""Inputs or outputs up to this size stand in the file itself; larger ones in a file named by their content."""

# Each step brings a file from the version before to its own; the last one's number is today's version. A step that has
# been released is never changed. Blobs that stand in a file of their own are texts, "sha256:<hex>".
MIGRATIONS = (
    (
        (
            "CREATE TABLE run ("
            " id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, task TEXT NOT NULL, phase TEXT NOT NULL,"
            " started_at REAL NOT NULL, ended_at REAL, project TEXT, domain TEXT, base_dir TEXT NOT NULL,"
            " recovered_from INTEGER,"
            " writer TEXT NOT NULL, pid INTEGER NOT NULL, host TEXT NOT NULL,"
            " program TEXT NOT NULL, inputs_hash TEXT, error TEXT)"
        ),
        "CREATE INDEX run_by_name ON run (name)",
        "CREATE INDEX run_by_start ON run (started_at)",
        # What ran: a task of one version, or a traced function. `detail` is JSON: what its version is made of.
        (
            "CREATE TABLE task ("
            " id INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL, interface BLOB,"
            " detail TEXT NOT NULL)"
        ),
        "CREATE UNIQUE INDEX task_by_name ON task (name, version, kind, detail)",
        (
            "CREATE TABLE action ("
            " id INTEGER PRIMARY KEY, run INTEGER NOT NULL, key BLOB NOT NULL, name TEXT NOT NULL, parent INTEGER,"
            " task INTEGER NOT NULL, grp TEXT, phase TEXT NOT NULL, attempts INTEGER NOT NULL,"
            " queued_at REAL NOT NULL, started_at REAL, ended_at REAL,"
            # `cache` is NULL, hit, miss, off or refresh; `source` the action that a recovered one was taken from;
            # `below` JSON: ids of the tasks that ran below it; `waiting` JSON: what it waits for, and since when.
            " cache TEXT, source INTEGER, below TEXT, waiting TEXT, inputs BLOB, outputs BLOB, error TEXT)"
        ),
        # No index of its own: ids tell the run, and a third of what a row costs to write would be the index. What is
        # looked up by key, in a run that is recovered from, is read into memory once.
        # Attempts that failed, and were followed by another one or by the end.
        (
            "CREATE TABLE attempt ("
            " action INTEGER NOT NULL, number INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL NOT NULL,"
            " error TEXT NOT NULL, PRIMARY KEY (action, number)) WITHOUT ROWID"
        ),
        (
            "CREATE TABLE log ("
            " id INTEGER PRIMARY KEY, run INTEGER NOT NULL, action INTEGER NOT NULL, at REAL NOT NULL,"
            " source TEXT NOT NULL, line TEXT NOT NULL)"
        ),
        "CREATE INDEX log_by_run ON log (run)",
        # Which actions hold a value that stands in a file of its own.
        "CREATE TABLE big (hash TEXT NOT NULL, action INTEGER NOT NULL, PRIMARY KEY (hash, action)) WITHOUT ROWID",
        "CREATE INDEX big_by_action ON big (action)",
        # What people said to a run that waits for them.
        (
            "CREATE TABLE signal ("
            " run TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, at REAL NOT NULL, by TEXT NOT NULL,"
            " PRIMARY KEY (run, name)) WITHOUT ROWID"
        ),
    ),
)


_NUMBER_BITS = 32


def first_action(run: int) -> int:
    """The id of the first action of a run; the others follow it."""
    return run << _NUMBER_BITS


def actions_of(run: int) -> tuple[int, int]:
    """The least and the greatest id that an action of this run may have."""
    return run << _NUMBER_BITS, (run + 1 << _NUMBER_BITS) - 1


class NotAJournal(Exception):
    """The file cannot be used as a journal; the message says why and what to do."""


def journal_path() -> Path:
    """The file: ``journal.db`` in the user's state folder."""
    return home_dir() / "local" / "journal.db"


def open_file(path: Path, busy_s: float) -> sqlite3.Connection:
    """A connection to the journal at ``path``, made or brought to today's version first.

    :param busy_s: how long a statement waits for another process's writing.
    :raises NotAJournal: it is damaged, of a later version of flyte, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(path, timeout=_OPENING_S, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise NotAJournal(f"{path} cannot be opened: {error}") from error
    try:
        if file.execute("PRAGMA journal_mode").fetchone()[0] != "wal" or _version(file) != len(MIGRATIONS):
            with _alone(path):
                # With a write-ahead log a commit outlives this process without waiting for the disk.
                # A commit of one action writes a page: a smaller one than usual takes a tenth less. Only of a new file.
                file.execute("PRAGMA page_size=2048")
                file.execute("PRAGMA journal_mode=WAL")
                _migrate(file, path)
        file.execute("PRAGMA synchronous=NORMAL")
        file.execute(f"PRAGMA busy_timeout={round(busy_s * 1000)}")
    except (sqlite3.Error, OSError) as error:
        file.close()
        raise NotAJournal(
            f"{path} cannot be used ({error}); move it away to start a new history: mv {path} {path}.broken"
        ) from error
    except BaseException:
        file.close()
        raise
    return file


_OPENING_S = 30.0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process and thread at a time is inside. SQLite's own lock does not cover the change to a write-ahead log."""
    if not _opening.acquire(timeout=_OPENING_S):  # the lock below is the process's, not the thread's
        raise OSError(f"another thread has been opening {path} for {_OPENING_S:g} s")
    try:
        with _locked(path):
            yield
    finally:
        _opening.release()


_opening = threading.Lock()


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + _OPENING_S
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _version(file: sqlite3.Connection) -> int:
    (version,) = file.execute("PRAGMA user_version").fetchone()
    return int(version)


def _migrate(file: sqlite3.Connection, path: Path) -> None:
    version = _version(file)
    if version > len(MIGRATIONS):
        raise NotAJournal(
            f"{path} was written by a later version of flyte (format {version}, this one knows up to "
            f"{len(MIGRATIONS)}); use that version, or another folder with FLYTE_HOME"
        )
    if version == 0 and os.name == "posix":
        path.chmod(0o600)  # inputs and outputs are nobody else's business on this machine
    for number in range(version, len(MIGRATIONS)):
        file.execute("BEGIN IMMEDIATE")
        try:
            for statement in MIGRATIONS[number]:
                file.execute(statement)
            file.execute(f"PRAGMA user_version={number + 1}")
            file.execute("COMMIT")
        except BaseException:
            if file.in_transaction:
                file.execute("ROLLBACK")
            raise
