"""``flyte.limit``: no more than so many of something at once, over all processes of the user on this machine.

A place under a limit is a lock of the operating system on a file below the user's state folder, which it takes back
when its holder dies, however it dies. Who waits holds a ticket in the same way, and is served in the order of the
tickets. In one process only the first in line looks at the files.
"""

import asyncio
import functools
import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from flyte._core.context import TaskContext, current
from flyte._core.home import home_dir

C = TypeVar("C", bound=Callable[..., Any])

_POLLED_EVERY_S = (0.001, 0.02)
"""First and longest pause between looks at the files."""


def limit(key: str, max: int, *, timeout_s: float | None = None) -> "Limit":
    """At most ``max`` at once under ``key``: in a ``with`` block, or in a function that is decorated.

    ::

        async with flyte.limit("database", max=4):
            ...

        api = flyte.limit("api", max=2)

        @env.task
        @api
        def ask(question: str) -> str: ...

    It holds over all tasks, runs and processes of this user on this machine that name the same key. Places are given in
    the order in which they were asked for; a place is free again when its holder ends, also when it is killed. A body
    in a worker process that waits for a place leaves its worker to others if they need it.

    :param key: what is limited.
    :param max: how many at once. Of different numbers under one key each is kept to by those who give it.
    :param timeout_s: how long to wait at most, in seconds; None for as long as it takes.
    :raises TypeError: a parameter of the wrong type.
    :raises ValueError: an empty key, ``max`` below 1, or a negative time.
    """
    if not isinstance(key, str):
        raise TypeError(f"flyte.limit takes a key that is a string, but got {type(key).__name__} {key!r}")
    if not key:
        raise ValueError("flyte.limit needs a key that is not empty")
    if not isinstance(max, int) or isinstance(max, bool):
        raise TypeError(f"flyte.limit({key!r}, max=...) takes a whole number, but got {max!r}")
    if max < 1:
        raise ValueError(f"flyte.limit({key!r}, max={max}) lets nothing through; give 1 or more")
    if timeout_s is not None and (not isinstance(timeout_s, (int, float)) or isinstance(timeout_s, bool)):
        raise TypeError(f"flyte.limit({key!r}, timeout_s=...) takes seconds, but got {timeout_s!r}")
    if timeout_s is not None and not timeout_s >= 0:
        raise ValueError(f"flyte.limit({key!r}, timeout_s={timeout_s}) is no length of time; give 0 or more")
    return Limit(key, max, timeout_s)


class Limit:
    """What :func:`limit` gives; enter it, or decorate with it."""

    def __init__(self, key: str, max: int, timeout_s: float | None) -> None:
        self.key = key
        self.max = max
        self.timeout_s = timeout_s
        # The same object may be entered by many at once, and again by one who is inside.
        self._held: dict[object, list[int]] = {}

    # Entering and leaving ------------------------------------------------------------------------------------------

    def __enter__(self) -> None:
        """Wait for a place.

        :raises TimeoutError: there was none in time.
        :raises RuntimeError: in async code, whose event loop this would park.
        """
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(f"in async code write 'async with flyte.limit({self.key!r}, ...)'")
        folder = self._folder()
        place = _take(folder, self.max) if _line_of(folder).is_empty else None
        if place is None:
            with _waiting_in_thread(self._words()):
                place = self._wait(folder)
        self._held.setdefault(threading.get_ident(), []).append(place)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Give the place back."""
        self._leave(threading.get_ident())

    async def __aenter__(self) -> None:
        """Wait for a place.

        :raises TimeoutError: there was none in time.
        """
        folder = self._folder()
        place = _take(folder, self.max) if _line_of(folder).is_empty else None
        if place is None:
            try:
                async with _waiting(self._words()):
                    place = await self._wait_async(folder)
            except BaseException:
                if place is not None:
                    _free(place)
                raise
        self._held.setdefault(asyncio.current_task(), []).append(place)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place back."""
        self._leave(asyncio.current_task())

    def __call__(self, function: C) -> C:
        """The function, of which at most ``max`` run at once.

        :raises TypeError: not a function, or a generator function.
        """
        if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"flyte.limit({self.key!r}, ...) decorates functions, but got {function!r}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def limited(*args: Any, **kwargs: Any) -> Any:
                async with self:
                    return await function(*args, **kwargs)

            return cast(C, limited)

        @functools.wraps(function)
        def limited_sync(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return cast(C, limited_sync)

    def __reduce__(self) -> tuple[Any, ...]:
        return Limit, (self.key, self.max, self.timeout_s)

    def __repr__(self) -> str:
        return f"flyte.limit({self.key!r}, max={self.max})"

    # Waiting ----------------------------------------------------------------------------------------------------------

    def _folder(self) -> Path:
        folder = home_dir() / "local" / "limits" / sha256(self.key.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _words(self) -> str:
        return f"a place under limit {self.key!r}"

    def _leave(self, who: object) -> None:
        places = self._held[who]
        _free(places.pop())
        if not places:
            del self._held[who]
        _line_of(self._folder()).poke()

    def _wait(self, folder: Path) -> int:
        line = _line_of(folder)
        woken = threading.Event()
        until = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        with line.place(woken.set) as is_first, _Ticket(folder) as ticket:
            for pause_s in _pauses():
                if is_first() and (taken := _take(folder, self.max, ticket)) is not None:
                    return taken
                woken.wait(self._left_s(until, pause_s if is_first() else None))
                woken.clear()
        raise AssertionError("the pauses have no end")

    async def _wait_async(self, folder: Path) -> int:
        line = _line_of(folder)
        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        until = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        with line.place(lambda: loop.call_soon_threadsafe(woken.set)) as is_first, _Ticket(folder) as ticket:
            for pause_s in _pauses():
                if is_first() and (taken := _take(folder, self.max, ticket)) is not None:
                    return taken
                left_s = self._left_s(until, pause_s if is_first() else None)
                try:
                    async with asyncio.timeout(left_s):
                        await woken.wait()
                except TimeoutError:
                    pass
                woken.clear()
        raise AssertionError("the pauses have no end")

    def _left_s(self, until: float | None, pause_s: float | None) -> float | None:
        if until is None:
            return pause_s
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(
                f"there was no place under limit {self.key!r}, max={self.max}, within {self.timeout_s:g} s; raise "
                "timeout_s, or find out who holds them for so long"
            )
        return left_s if pause_s is None else min(left_s, pause_s)


def _pauses() -> Iterator[float]:
    pause_s, longest_s = _POLLED_EVERY_S
    while True:
        yield pause_s
        pause_s = min(1.5 * pause_s, longest_s)


# Those who wait in this process ---------------------------------------------------------------------------------------


class _Line:
    """Who waits in this process for one key, in order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], object]] = deque()

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    @contextmanager
    def place(self, wake: Callable[[], object]) -> Iterator[Callable[[], bool]]:
        """Stand in the line; gives what tells whether one is first."""

        def own() -> object:
            return wake()

        with self._lock:
            self._waiting.append(own)
        try:
            yield lambda: self._waiting[0] is own
        finally:
            with self._lock:
                self._waiting.remove(own)
            self.poke()

    def poke(self) -> None:
        """A place may be free, or somebody else is first now."""
        with self._lock:
            first = self._waiting[0] if self._waiting else None
        if first is not None:
            try:
                first()
            except RuntimeError:  # its event loop is closed: it will be gone from the line in a moment
                pass


_lines: dict[tuple[int, Path], _Line] = {}
_lines_lock = threading.Lock()


def _line_of(folder: Path) -> _Line:
    key = (os.getpid(), folder)
    with _lines_lock:
        line = _lines.get(key)
        if line is None:
            line = _lines[key] = _Line()
        return line


# The files ------------------------------------------------------------------------------------------------------------


class _Ticket:
    """A place in the line of all processes; drawn when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)

    def draw(self, door: int) -> str:
        """Its name; the names of later ones sort after it.

        :param door: the locked file of the folder, which holds the number of the last ticket.
        """
        if self._path is None:
            number = int(os.pread(door, 20, 0) or b"0") + 1
            os.pwrite(door, b"%020d" % number, 0)
            self._path = self._folder / f"ticket-{number:020}"
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._descriptor)
        return self._path.name


def _take(folder: Path, most: int, ticket: _Ticket | None = None) -> int | None:
    """A place, as the descriptor of a locked file, if there is one and nobody has waited longer.

    :param ticket: of the caller, who has waited already.
    """
    door = os.open(folder / "door", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(door):  # held for well under a millisecond; the next look is soon enough
            return None
        own = ticket.draw(door) if ticket is not None else None
        names = sorted(os.listdir(folder))
        for name in names:
            if not name.startswith("ticket-"):
                continue
            if name == own:
                break
            if _is_held(folder / name):
                return None
            (folder / name).unlink(missing_ok=True)  # its owner has died
        held = sum(_is_held(folder / name) for name in names if name.startswith("place-"))
        if held >= most:
            return None
        number = 0
        while True:
            place = os.open(folder / f"place-{number:06}", os.O_RDWR | os.O_CREAT, 0o600)
            if _lock(place):
                return place
            os.close(place)
            number += 1
    finally:
        os.close(door)


def _lock(descriptor: int) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free(place: int) -> None:
    import fcntl

    # Said in words, as a process that the holder forked has the file open too.
    fcntl.flock(place, fcntl.LOCK_UN)
    os.close(place)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


# What the run is told -------------------------------------------------------------------------------------------------


def _waiting(words: str) -> AbstractAsyncContextManager[None]:
    wait = _wait_of("waiting")
    return wait(words) if wait is not None else cast("AbstractAsyncContextManager[None]", _Told(words))


def _waiting_in_thread(words: str) -> AbstractContextManager[None]:
    wait = _wait_of("waiting_in_thread")
    return wait(words) if wait is not None else cast("AbstractContextManager[None]", _Told(words))


def _wait_of(name: str) -> Callable[[str], Any] | None:
    """What the controller of a worker offers, which is of this room and loaded only in workers."""
    context = current.get()
    return getattr(context.execution.controller, name, None) if context is not None else None


class _Told:
    """Tells the journal of the run what the action waits for."""

    def __init__(self, words: str) -> None:
        context = current.get()
        self._context: TaskContext | None = context.task_context if context is not None else None
        self._words = words

    def _tell(self, words: str | None) -> None:
        context = self._context
        if context is not None and context.execution.journal is not None and context.calls.record is not None:
            context.execution.journal.waits(context.calls.record, words)

    def __enter__(self) -> None:
        self._tell(self._words)

    def __exit__(self, *_: object) -> None:
        self._tell(None)

    async def __aenter__(self) -> None:
        self._tell(self._words)

    async def __aexit__(self, *_: object) -> None:
        self._tell(None)
