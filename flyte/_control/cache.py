"""Results that stand for calls: the cache of tasks that run in this process.

One SQLite file in the user's state folder, shared by all processes of the user. A key is made of everything that tells
one call from another, or not at all; what cannot be read back is as if it were not there.
"""

import asyncio
import datetime
import os
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

from flyte._core.context import Execution, TaskContext
from flyte._core.home import home_dir
from flyte._core.identity import ActionPhase, hash_data
from flyte._core.log import logger
from flyte._definition.cache import Cache
from flyte._definition.cache_policy import VersionParameters
from flyte.errors import MaxQueuedTimeExceededError, TypeTransformerFailedError
from flyte.types._interface import interface_hash

from .attempt import Plan

_SCHEMA = 1
_SELECT = "SELECT key, task, kept_at, outputs FROM result WHERE key = ?"
_BUSY_S = 30.0
"""How long a write waits for another process's; each holds the file for well under a millisecond."""
_POLLED_EVERY_S = (0.002, 0.1)
"""First and longest pause between looks at a call that another one is running."""

_LONG_WAIT_S = 30.0
"""After this long a wait for another's call is said, so that nobody wonders why nothing happens."""

Use = Literal["off", "read", "refresh", "on"]


def use_of(execution: Execution) -> Use:
    """How a run uses the cache: the run's own options first, then ``FLYTE_CACHE`` = off, read or refresh.

    ``read`` takes results and keeps none; ``refresh`` runs everything and keeps the results.

    :raises ValueError: ``FLYTE_CACHE`` holds another word.
    """
    if execution.disable_run_cache:
        return "off"
    if execution.overwrite_cache:
        return "refresh"
    word = os.environ.get("FLYTE_CACHE", "").lower()
    if word in ("", "on"):
        return "on"
    if word not in ("off", "read", "refresh"):
        raise ValueError(f"FLYTE_CACHE={word!r} is not known; use 'off', 'read', 'refresh' or 'on'")
    return word  # type: ignore[return-value]


async def run_cached(
    plan: Plan, context: TaskContext, inputs_hash: str, use: Use, call: Callable[[], Awaitable[Any]]
) -> Any:
    """The kept result of an equal call, or that of ``call()``, which is then kept.

    :param inputs_hash: of the inputs that tell calls apart.
    """
    cache = plan.task.cache
    assert isinstance(cache, Cache)
    key = key_of(plan, cache, inputs_hash)
    store = _store()
    if key is None or store is None:
        return await call()
    if not cache.serialize or use == "refresh":
        return await _run_or_take(plan, context, key, store, use, call)
    async with _reserved(plan, key):
        result = await _run_or_take(plan, context, key, store, use, call)
        store.flush()  # whoever waits for the key must find it
        return result


async def _run_or_take(
    plan: Plan, context: TaskContext, key: str, store: "CacheStore", use: Use, call: Callable[[], Awaitable[Any]]
) -> Any:
    clock = context.execution.clock
    if use != "refresh":
        age = cast(Cache, plan.task.cache).max_age
        kept = store.get(key, age.total_seconds() if isinstance(age, datetime.timedelta) else age, clock.time())
        if kept is not None:
            try:
                result = await plan.boundary.load(kept)
            except TypeTransformerFailedError as error:
                logger.warning("the cached result of task %r cannot be read and is made anew: %s", plan.name, error)
            else:
                if context.calls.record is not None:
                    context.calls.record.cache = "hit"
                    context.calls.record.outputs = kept
                if context.execution.recorder is not None:
                    context.execution.recorder.action_finished(context, ActionPhase.SUCCEEDED, None)
                return result
    record = context.calls.record
    if record is not None:
        record.cache = "refresh" if use == "refresh" else "miss"
    result = await call()
    if use != "read":
        try:
            outputs = record.outputs if record is not None else None
            if outputs is None:
                outputs = await plan.boundary.dump(result)
            store.put(key, plan.name, outputs, clock.time())
        except TypeTransformerFailedError as error:
            logger.warning("the result of task %r cannot be kept in the cache: %s", plan.name, error)
    return result


def key_of(plan: Plan, cache: Cache, inputs_hash: str) -> str | None:
    """The key of a call (wire-protocol section 8); None, after a warning, where there is no telling."""
    # A version belongs to the task, not to the call: it is found out once, as on a control plane.
    if plan.cached_as is None:
        try:
            version = cache.get_version(VersionParameters(func=plan.func, image=plan.task.image))
        except Exception as error:  # a policy is the user's code and may fail in any way: the task runs all the same
            logger.warning("task %r runs uncached, because its version cannot be found out: %s", plan.name, error)
            plan.cached_as = ""
        else:
            plan.cached_as = f"{plan.name}{interface_hash(plan.task.interface)}{version}"
    return hash_data(f"{inputs_hash}{plan.cached_as}".encode()) if plan.cached_as else None


# The file -------------------------------------------------------------------------------------------------------------


_PUT = "INSERT OR REPLACE INTO result VALUES (?, ?, ?, ?)"


class CacheStore:
    """The kept results of one SQLite file; safe to use from several threads and processes.

    :param path: the file; made, with its folder, if it is not there.
    :raises sqlite3.Error: it cannot be opened, or is not such a file.
    :raises ValueError: a later version of flyte made it.
    """

    def __init__(self, path: Path) -> None:
        # A program that caches nothing does not load SQLite.
        import sqlite3

        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._error = sqlite3.Error
        self._lock = threading.Lock()
        self._pending: dict[str, tuple[str, str, float, bytes]] = {}
        self._pid = os.getpid()
        self._file = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        # With a write-ahead log a commit outlives this process without waiting for the disk.
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=NORMAL")
        (version,) = self._file.execute("PRAGMA user_version").fetchone()
        if version > _SCHEMA:
            raise ValueError(
                f"{path} was made by a later version of flyte (format {version}, this one reads {_SCHEMA})"
            )
        if version < _SCHEMA:
            self._file.executescript(
                "BEGIN IMMEDIATE;"
                "CREATE TABLE IF NOT EXISTS result"
                " (key TEXT PRIMARY KEY, task TEXT NOT NULL, kept_at REAL NOT NULL, outputs BLOB NOT NULL)"
                " WITHOUT ROWID;"
                f"PRAGMA user_version={_SCHEMA};"
                "COMMIT;"
            )

    def get(self, key: str, max_age_s: float | None = None, now_s: float | None = None) -> bytes | None:
        """The result kept under ``key``, if it is not older than ``max_age_s`` seconds.

        :param now_s: seconds since the epoch; the system's time if not given.
        """
        try:
            with self._lock:
                row = self._pending.get(key) or self._file.execute(_SELECT, (key,)).fetchone()
        except self._error as error:
            logger.warning("a cached result cannot be read from %s: %s", self.path, error)
            return None
        if row is None or (max_age_s is not None and (now_s or time.time()) - row[2] > max_age_s):
            return None
        return bytes(row[3])

    def put(self, key: str, task: str, outputs: bytes, now_s: float | None = None) -> None:
        """Keep a result: at once for this process, for others and for good with the next :meth:`flush`.

        On an event loop that comes with its next turn, so that results of the same turn share one commit; a process
        that is killed before has merely to make them again.
        """
        with self._lock:
            self._pending[key] = (key, task, now_s or time.time(), outputs)
            first = len(self._pending) == 1
        if first:
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what was put; it is there for every process when this returns."""
        with self._lock:
            rows = list(self._pending.values())
            self._pending.clear()
            if not rows:
                return
            try:
                if len(rows) == 1:  # one statement is a transaction by itself, for less
                    self._file.execute(_PUT, rows[0])
                else:
                    self._file.execute("BEGIN IMMEDIATE")
                    self._file.executemany(_PUT, rows)
                    self._file.execute("COMMIT")
            except self._error as error:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")
                logger.warning("%d results cannot be kept in %s: %s", len(rows), self.path, error)

    @property
    def is_of_this_process(self) -> bool:
        """False in a forked child, where an SQLite connection of the parent must not be used."""
        return self._pid == os.getpid()

    def close(self) -> None:
        """Write what was put and close the file."""
        self.flush()
        self._file.close()


_stores: dict[str, CacheStore | None] = {}
_stores_lock = threading.Lock()


def _store() -> CacheStore | None:
    """The store of the state folder in force; None, after one warning, where it cannot be used."""
    # Looked up by the setting rather than by a path: making a path costs as much as reading a result.
    home = os.environ.get("FLYTE_HOME", "")
    store = _stores.get(home)
    if store is not None and store.is_of_this_process:
        return store
    with _stores_lock:
        known = _stores.get(home)
        if home not in _stores or (known is not None and not known.is_of_this_process):
            _stores[home] = _open(home_dir() / "local" / "cache.db")
        return _stores[home]


def flush_stores() -> None:
    """Write what is still to be written; called when a run ends."""
    for store in list(_stores.values()):
        if store is not None and store.is_of_this_process:
            store.flush()


def _open(path: Path) -> CacheStore | None:
    import sqlite3

    try:
        return CacheStore(path)
    except (sqlite3.Error, OSError, ValueError) as error:
        logger.warning(
            "nothing is cached, because %s cannot be used: %s. Move the file away to start anew", path, error
        )
        return None


@asynccontextmanager
async def _reserved(plan: Plan, key: str) -> AsyncIterator[None]:
    """Of all calls with ``key``, in any process, one is inside at a time.

    A lock of the operating system on a file, which it takes back when a process dies, however it dies. A holder that
    lives may run as long as its own limits allow; the waiting counts as queued, and a long one is said.

    :raises MaxQueuedTimeExceededError: the wait was longer than the task's ``max_queued_time``.
    """
    import fcntl

    folder = home_dir() / "local" / "cache-locks"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / sha256(key.encode()).hexdigest()
    pause_s, longest_s = _POLLED_EVERY_S
    limit_s = plan.timeout.max_queued_time_s if plan.timeout is not None else None
    began, said = time.monotonic(), False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_file(path, descriptor):
                break
            os.close(descriptor)  # its last holder removed it; another file has, or will have, its name
        except BlockingIOError:
            os.close(descriptor)
            waited_s = time.monotonic() - began
            if limit_s is not None and waited_s > limit_s:
                raise MaxQueuedTimeExceededError(
                    f"task {plan.name!r} waited {waited_s:.3g} s for an equal call that runs elsewhere, but its "
                    f"max_queued_time is {limit_s:g} s; raise it, or do without serialize=True"
                ) from None
            if waited_s > _LONG_WAIT_S and not said:
                said = True
                logger.warning("task %r waits for an equal call that has run for %g s", plan.name, _LONG_WAIT_S)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
