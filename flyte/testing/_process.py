"""A process of a simulation: a thread with an event loop of its own that can be cut at any of its points.

Points are where something can be lost: a turn of the event loop, a commit to the journal (before and after it), the
start of a body, and the moment a caller gets a result. A cut process is frozen on the spot, as if it had been killed:
nothing of it unwinds, and what it had not committed is gone. It is cleared away when nobody looks any more.
"""

import asyncio
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from pathlib import Path
from typing import Any

from flyte._core.environ import environment
from flyte._journal import writer
from flyte._journal.schema import journal_path

from ._clock import ManualClock
from ._errors import DeadlockError
from ._home import kill_writer
from ._loop import ManualLoop, drive

STUCK_S = 60.0
"""Real seconds after which a process that is neither cut nor at its end is given up."""
_CLEARING_S = 5.0
_DEAD = "flyte-simulated-dead"


class Cut(BaseException):
    """Clears away a process that was cut."""


class EndlessError(AssertionError):
    """A process does far more than an undisturbed one."""


class Process:
    """One process.

    :param home: its state folder.
    :param cut_at: the point to cut it at; None for none.
    :param order_seed: chooses the order of callbacks; None for the order in which they become ready.
    :param most_points: after so many points it counts as endless.
    :param before: the process that was cut before; time goes on from there.
    """

    def __init__(
        self,
        home: Path,
        cut_at: int | None,
        order_seed: int | None,
        most_points: int | None,
        before: "Process | None" = None,
    ) -> None:
        self.home = home
        self.clock = ManualClock()
        if before is not None:
            self.clock.advance(before.elapsed_s)
        self.points = 0
        self.cut = False
        self.result: Any = None
        self.failure: BaseException | None = None
        self._cut_at = cut_at
        self._most_points = most_points
        self._chance = random.Random(order_seed) if order_seed is not None else None
        self._moved = threading.Event()
        """It has ended or was cut."""
        self._cleared = threading.Event()
        self._loop: ManualLoop | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    @property
    def elapsed_s(self) -> float:
        """How long it and those before it took, by their clock."""
        return self.clock.elapsed_s

    # Points -----------------------------------------------------------------------------------------------------

    def point(self) -> None:
        """A moment at which the process may be cut; does not return if it is."""
        if not self.cut:
            with self._lock:
                self.points += 1
                number = self.points
                if number == self._cut_at:
                    self.cut = True
            if not self.cut:
                if self._most_points is not None and number > self._most_points:
                    raise EndlessError(f"it has done more than {self._most_points:,} steps and has not ended")
                return
        self._freeze()

    def choose(self, ready: "deque[asyncio.Handle]") -> int:
        """The callback to run: any step of a task, or the first of the others, whose order asyncio promises."""
        self.point()
        if self._chance is None or len(ready) == 1:
            return 0
        candidates = []
        other = False
        for index, handle in enumerate(ready):
            if isinstance(getattr(handle._callback, "__self__", None), asyncio.Task):  # type: ignore[attr-defined]
                candidates.append(index)
            elif not other:
                other = True
                candidates.append(index)
        return self._chance.choice(candidates)

    def _freeze(self) -> None:
        self._moved.set()
        self._cleared.wait()
        raise Cut

    # Life -------------------------------------------------------------------------------------------------------

    def execute(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        """Run ``call()`` until it ends or is cut.

        :raises DeadlockError: it did neither within 60 real seconds.
        """
        with environment({"FLYTE_HOME": str(self.home), "FLYTE_JOURNAL": "on"}):
            writer._writers[str(self.home)] = _CutWriter(journal_path(), self)
            context = copy_context()
        self._thread = threading.Thread(
            target=context.run, args=(self._work, call), name="flyte-simulated", daemon=True
        )
        self._thread.start()
        if not self._moved.wait(STUCK_S):
            self.cut = True
            kill_writer(self.home)
            self.clear()
            raise DeadlockError(f"the workflow is still busy after {STUCK_S:g} real seconds")
        if self.cut:
            kill_writer(self.home)
        else:
            self._thread.join(_CLEARING_S)
            kill_writer(self.home)

    def _work(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        async def main() -> Any:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, ManualLoop)
            self._loop = loop
            return await call()

        try:
            self.result = drive(self.clock, main, self)
        except BaseException as error:
            if not self.cut:
                self.failure = error
        finally:
            self._moved.set()

    def clear(self) -> None:
        """Clear a cut process away: its bodies are unwound, and whatever they still say is not heard."""
        if not self.cut or self._thread is None:
            return
        logger = logging.getLogger("flyte")
        self._thread.name = _DEAD
        logger.addFilter(_is_alive)
        try:
            if self._loop is not None:
                self._loop.set_exception_handler(_ignore)
            self._cleared.set()
            if self._loop is not None:
                self._loop.release_threads()
            self._thread.join(_CLEARING_S)
        finally:
            logger.removeFilter(_is_alive)


def _is_alive(_record: logging.LogRecord) -> bool:
    return threading.current_thread().name != _DEAD


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    pass


class _CutWriter(writer.Writer):
    """The journal's writer; each commit is two points."""

    def __init__(self, path: Path, process: Process) -> None:
        super().__init__(path)
        self._process = process

    def _write(self, busy_s: float) -> bool:
        something = bool(self._actions or self._others) and not self.broken
        if something:
            self._process.point()
        written = super()._write(busy_s)
        if something:
            self._process.point()
        return written
