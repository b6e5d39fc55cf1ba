"""What tasks print and log, as lines of the journal: captured while a run that is remembered goes on.

Output goes where it went before, and in addition, line by line, to the action whose body wrote it.
"""

import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from flyte._core.context import TaskContext, current
from flyte._journal.redaction import redact

_LINES = 100_000
"""Lines that are kept of one run; the rest is only shown."""
_CHARACTERS = 10_000
_INSERT = "INSERT INTO log (run, action, at, source, line) VALUES (?, ?, ?, ?, ?)"


class LineCount:
    """How many lines of a run are kept so far."""

    __slots__ = ("kept",)

    def __init__(self) -> None:
        self.kept = 0


def _keep(source: str, line: str) -> None:
    """Keep one line of the running action, if it belongs to a run that is remembered."""
    context = current.get()
    if context is not None:
        _keep_of(context, source, line)


def _keep_of(context: TaskContext, source: str, line: str) -> None:
    journal, record = context.execution.journal, context.calls.record
    if journal is None or record is None or not line:
        return
    count = journal.lines.kept = journal.lines.kept + 1
    if count > _LINES:
        return
    if count == _LINES:
        line = f"... {_LINES:,} lines are kept of a run; what follows was only shown"
    elif len(line) > _CHARACTERS:
        line = f"{line[:_CHARACTERS]} ... and {len(line) - _CHARACTERS:,} more characters"
    moment = context.execution.clock.time()
    journal.put_soon(_INSERT, (record.run, record.id, moment, source, redact(line)), context.execution.loop)


class _Records:
    """Makes log records, and keeps those that are made inside tasks.

    In place of a handler on the root logger: ``logging.basicConfig`` in a task does nothing where there is one.
    """

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        if current.get() is not None:
            try:
                for line in _formatter.format(record).splitlines():
                    _keep(record.levelname.lower(), line)
            except (TypeError, ValueError):  # arguments that do not fit the message; whoever shows it says so
                pass
        return record


_formatter = logging.Formatter("%(name)s: %(message)s")


class _Tee:
    """A text stream that also keeps what tasks write to it."""

    def __init__(self, stream: TextIO, source: str) -> None:
        self._stream = stream
        self._source = source
        self._begun: dict[int, tuple[TaskContext, str]] = {}
        """Id of a record -> the line it has begun."""

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        context = current.get()
        if context is None or context.calls.record is None:
            return written
        # A log line on its way to the terminal is kept as one already.
        caller = sys._getframe(1).f_code
        if caller.co_name == "emit" and caller.co_filename == logging.__file__:
            return written
        number = context.calls.record.id
        begun = self._begun.pop(number, None)
        *lines, rest = (text if begun is None else begun[1] + text).split("\n")
        for line in lines:
            _keep(self._source, line)
        if rest:
            self._begun[number] = (context, rest[-_CHARACTERS:])
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def end(self) -> None:
        """Nothing more comes: lines that were begun end here."""
        for context, line in self._begun.values():
            _keep_of(context, self._source, line)
        self._begun.clear()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)


_lock = threading.Lock()
_runs = 0
_records: _Records | None = None
_tees: dict[str, _Tee] = {}

_ended: deque[_Tee] = deque(maxlen=64)
"""Tees that were in place, still held: print() of CPython 3.11 uses the stream it found in ``sys`` without holding it,
so one that went away while the thread of a body that was given up is inside print() would crash the process."""


def _tee_of(stream: TextIO, source: str) -> _Tee:
    for tee in _ended:
        if tee._stream is stream and tee._source == source:
            _ended.remove(tee)
            return tee
    return _Tee(stream, source)


@contextmanager
def captured() -> Iterator[None]:
    """Capture output while the ``with`` block runs; several may be open at once."""
    global _runs, _records
    with _lock:
        _runs += 1
        if _runs == 1:
            _records = _Records(logging.getLogRecordFactory())
            logging.setLogRecordFactory(_records)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            # Somebody may have put another stream in place since, as pytest and notebooks do for each test or cell.
            if stream is not None and not isinstance(stream, _Tee):
                _tees[name] = tee = _tee_of(stream, name)
                setattr(sys, name, tee)
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0:
                if logging.getLogRecordFactory() is _records and _records is not None:
                    logging.setLogRecordFactory(_records.make)
                for name, tee in _tees.items():
                    tee.end()
                    if getattr(sys, name) is tee:
                        setattr(sys, name, tee._stream)
                    _ended.append(tee)
                _tees.clear()
