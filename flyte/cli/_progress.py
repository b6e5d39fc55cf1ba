"""Progress of a run on standard error: a live tree on a terminal, a few plain lines elsewhere.

Called by `_run`. All it knows of the run comes from the counts of a :class:`Tally`; nothing is drawn on the run's own
path, but by a thread that looks at the counts now and then.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from flyte._core.controller import RecordedAction
from flyte._core.identity import ActionPhase

from ._tally import Node, Tally, seconds_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

SHOWN_FAILURES = 20
"""How many failures get a line of their own; ten thousand equal lines help nobody."""
APPEARS_AFTER_S = 0.2
"""A run that is over sooner gets no tree: it would only flicker, and rich need not be imported."""
REDRAWN_EVERY_S = 0.125
SHARE_OF_TIME = 0.05
"""At most this part of the time is spent drawing, however large the tree: the thread takes its time from the run."""
_replaced: deque[tuple[TextIO, TextIO]] = deque(maxlen=64)
"""Streams of views that are over, still held: a body that was given up may be inside print() (see `_control.logs`)."""
_DEEPEST = 12
"""Levels of the tree that are drawn; a recursion goes deeper than any terminal is wide."""


class Progress:
    """Plain lines: the run's start, each failure, its end with counts and time.

    :param run: name of the run.
    :param task: full name of its root task.
    :param stream: where to write; standard error if not given.
    :param opening: whether a line says that the run has started.
    """

    def __init__(self, run: str, task: str, stream: TextIO | None = None, *, opening: bool = True) -> None:
        self.run = run
        self.task = task
        self.tally = Tally(self._on_failure)
        self.ended: str | None = None
        """How the run ended, if it is not this process that ran it."""
        self._given_stream = stream
        self._opening = opening
        self._failures = 0

    def __enter__(self) -> Self:
        if self._opening:
            self.tell(f"run {self.run} of {self.task} started")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.tally.end()
        self.tell(self._ending(kind))

    def _ending(self, kind: type[BaseException] | None) -> str:
        if self.ended is not None:
            ended = self.ended
        elif kind is None:
            ended = "succeeded"
        elif issubclass(kind, KeyboardInterrupt):
            ended = "interrupted"
        else:
            ended = "failed"
        took = seconds_text(self.tally.elapsed_s)
        return f"run {self.run} of {self.task} {ended} in {took}: {self.tally.counts()}"

    @property
    def _stream(self) -> TextIO:
        # Looked up for each line: while a live view is shown, standard error is what puts lines above it.
        return self._given_stream or sys.stderr

    def tell(self, line: str) -> None:
        """Write a line."""
        print(line, file=self._stream, flush=True)

    def tell_phase(self, line: str) -> None:
        """Write that the run has come to another phase."""
        self.tell(line)

    def tell_failure(self, line: str) -> None:
        """Write that an action has failed; after many, only that there are more."""
        self._failures += 1
        if self._failures <= SHOWN_FAILURES:
            self.tell(line)
        elif self._failures == SHOWN_FAILURES + 1:
            self.tell("more actions fail; they are counted, without a line each")

    def _on_failure(self, action: RecordedAction, phase: ActionPhase, error: BaseException) -> None:
        self.tell_failure(failure_line(action, phase, error))


def failure_line(action: RecordedAction, phase: ActionPhase, error: BaseException) -> str:
    """One line that says which action failed and why."""
    said = str(error).strip().partition("\n")[0]
    shown = f"{said[:160]}..." if len(said) > 160 else said
    how = "timed out" if phase is ActionPhase.TIMED_OUT else "failed"
    return f"{how}: {action.task_name} (action {action.name}): {type(error).__name__}: {shown}"


class LiveProgress(Progress):
    """A tree that is redrawn while the run goes on; once the run has ended it stays, with a line that sums up.

    What the run prints meanwhile appears above the tree.
    """

    def __init__(self, run: str, task: str, stream: TextIO | None = None, *, opening: bool = True) -> None:
        super().__init__(run, task, stream, opening=opening)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="flyte-progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.tally.end()
        self._over.set()
        self._thread.join(timeout=2.0)
        self.tell(self._ending(kind))

    def tell_phase(self, line: str) -> None:
        """Nothing: the tree shows it."""

    def _draw(self) -> None:
        if self._over.wait(APPEARS_AFTER_S):
            return
        from rich.console import Console
        from rich.live import Live

        from flyte._control.prompt import terminal

        console = Console(file=self._stream)
        live = Live(
            console=console,
            auto_refresh=False,
            redirect_stdout=sys.stdout.isatty(),  # a result that goes to a file must stay out of the terminal
            redirect_stderr=True,
            vertical_overflow="crop",
        )
        with live, _log_lines_above(live):
            _replaced.append((sys.stdout, sys.stderr))
            pause_s, made_room = 0.0, False
            while True:
                over = self._over.wait(pause_s)
                began = time.monotonic()
                if terminal.is_asking and not over:
                    # What is typed meanwhile would be drawn over: the tree makes room for it.
                    if not made_room:
                        live.update("", refresh=True)
                        console.show_cursor()
                    made_room = True
                else:
                    if made_room:
                        console.show_cursor(False)
                    made_room = False
                    live.update(self._picture(console), refresh=True)
                pause_s = max(REDRAWN_EVERY_S, (time.monotonic() - began) / SHARE_OF_TIME)
                if over:
                    return

    def _picture(self, console: "Console") -> "RenderableType":
        from rich.text import Text

        lines = Text(no_wrap=True, overflow="ellipsis")
        lines.append(f"run {self.run}", style="bold")
        lines.append(f"  {seconds_text(self.tally.elapsed_s)}  {self.tally.counts()}\n")
        rows = list(tree_rows(self.tally.top))
        room = max(console.height - 3, 4)
        for indent, node in rows[:room]:
            lines.append(indent, style="dim")
            lines.append(node.task, style="bold" if not indent else "")
            lines.append(f"  {_state_text(node)}\n", style=_style(node))
        if len(rows) > room:
            lines.append(f"... and {len(rows) - room} more places that call tasks\n", style="dim")
        lines.rstrip()
        return lines


def progress(run: str, task: str, live: bool = True, *, opening: bool = True) -> Progress:
    """The view that fits standard error.

    :param live: whether it may be redrawn; False gives plain lines on a terminal too.
    :param opening: see :class:`Progress`.
    """
    return (LiveProgress if live and sys.stderr.isatty() else Progress)(run, task, opening=opening)


def tree_rows(top: Node) -> Iterator[tuple[str, Node]]:
    """The tree under ``top``, line by line: what stands before the node, and the node."""

    def walk(node: Node, before: str, depth: int) -> Iterator[tuple[str, Node]]:
        below = list(node.below())
        for position, child in enumerate(below):
            last = position == len(below) - 1
            corner = "" if depth == 0 else ("└─ " if last else "├─ ")
            group = f"[{child.group}] " if child.group else ""
            yield f"{before}{corner}{group}", child
            if depth < _DEEPEST:
                yield from walk(child, before if depth == 0 else before + ("   " if last else "│  "), depth + 1)

    yield from walk(top, "", 0)


def _state_text(node: Node) -> str:
    states = [
        (node.running, "running"),
        (node.done, "done"),
        (node.failed, "failed"),
        (node.cached, "cached"),
        (node.recovered, "recovered"),
        (node.stopped, "stopped"),
    ]
    shown = [(number, word) for number, word in states if number]
    if node.total == 1 and len(shown) == 1:
        text = shown[0][1]
    else:
        text = f"x {node.total:,}  " + ", ".join(f"{number:,} {word}" for number, word in shown)
    return f"{text}, {node.retried:,} retried" if node.retried else text


def _style(node: Node) -> str:
    if node.failed:
        return "red"
    return "cyan" if node.running else "green"


@contextmanager
def _log_lines_above(live: "Live") -> Iterator[None]:
    """Send log lines through the live view while it is shown.

    A handler keeps the stream that it was made with, so replacing ``sys.stderr`` does not reach it.
    """
    moved: list[tuple[logging.StreamHandler[Any], Any]] = []
    loggers = [
        logging.root,
        *(one for one in list(logging.root.manager.loggerDict.values()) if isinstance(one, logging.Logger)),
    ]
    for handler in {h for one in loggers for h in one.handlers if isinstance(h, logging.StreamHandler)}:
        if handler.stream is live.console.file or (handler.stream is sys.__stderr__ and handler.stream is not None):
            moved.append((handler, handler.stream))
            handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler, stream in moved:
            handler.setStream(stream)
