"""Asking the person at the terminal that a run was started from.

A thread reads what is typed, so that neither the event loop nor the end of the run waits for the terminal. Questions
are put one after the other; one that was answered elsewhere is taken back. ``FLYTE_PROMPT=off`` asks nothing.
"""

import os
import select
import sys
import termios
import threading
from typing import Protocol

_BACKGROUND_S = 0.5
"""How often a process in the background looks whether the terminal is its own again."""


class Question(Protocol):
    """Something to ask."""

    def text(self) -> str:
        """The question as it is shown, in one or more lines."""
        ...

    def answer(self, text: str) -> str | None:
        """Take what was typed; what is wrong with it, in words, or None if it was taken."""
        ...


class Terminal:
    """The terminal of this process; the questions that it is asked wait for their turn."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._questions: list[Question] = []
        self._thread: threading.Thread | None = None
        self._wake: tuple[int, int] | None = None
        self._typed = b""
        self._why = ""
        self.is_asking = False
        """Whether a question is shown and not yet answered."""

    def ask(self, question: Question) -> bool:
        """Put a question, when those before it are answered; False if there is nobody to ask."""
        if not _has_reader():
            return False
        with self._lock:
            if question in self._questions:
                return True
            self._questions.append(question)
            if self._thread is None:
                if self._wake is None:
                    self._wake = os.pipe()
                self._thread = threading.Thread(target=self._work, name="flyte-prompt", daemon=True)
                self._thread.start()
        return True

    def take_back(self, question: Question, why: str) -> None:
        """The question needs no answer any more.

        :param why: said where it is shown at this moment.
        """
        with self._lock:
            if question in self._questions:
                self._questions.remove(question)
                self._why = why
                if self._wake is not None:
                    os.write(self._wake[1], b"x")

    def _first(self) -> Question | None:
        """The next question; without one, the thread ends."""
        with self._lock:
            if not self._questions:
                self._thread = None
                return None
            return self._questions[0]

    def _work(self) -> None:
        while (question := self._first()) is not None:
            self.is_asking = True
            try:
                self._put(question)
            finally:
                self.is_asking = False

    def _put(self, question: Question) -> None:
        _say(question.text())
        while question in self._questions:
            line = self._read_line()
            if question not in self._questions:
                self._typed = b""
                _forget_typed()
                _say(self._why)
                return
            if line is None:
                continue
            if line == "":
                _say("the terminal gives no answer; it can still be given as said above")
                wrong = None
            elif not line.strip():
                continue
            else:
                wrong = question.answer(line.rstrip("\r\n"))
            if wrong is None:
                with self._lock:
                    if question in self._questions:
                        self._questions.remove(question)
            else:
                _say(wrong)

    def _read_line(self) -> str | None:
        """A line; an empty text where there are no more, None when something has happened meanwhile."""
        assert self._wake is not None
        terminal = _descriptor()
        while True:
            if not _is_in_foreground(terminal):
                # Reading now would stop the whole process.
                if select.select([self._wake[0]], [], [], _BACKGROUND_S)[0]:
                    os.read(self._wake[0], 1)
                    return None
                continue
            ready, _, _ = select.select([terminal, self._wake[0]], [], [])
            if self._wake[0] in ready:
                os.read(self._wake[0], 1)
                return None
            try:
                more = os.read(terminal, 4096)
            except OSError:  # the terminal is gone
                return ""
            self._typed += more
            if not more or self._typed.endswith(b"\n"):
                line, self._typed = self._typed, b""
                return line.decode("utf-8", "replace")


terminal = Terminal()


def _has_reader() -> bool:
    """Whether somebody sits at standard input and sees standard error."""
    if os.environ.get("FLYTE_PROMPT", "on").lower() == "off":
        return False
    try:
        # What a program has put in the place of standard input is no terminal.
        own = sys.stdin is sys.__stdin__ and sys.stdin is not None and sys.stdin.isatty()
        return own and sys.stderr.isatty() and _is_in_foreground(_descriptor())
    except (OSError, ValueError, AttributeError):
        return False


def _descriptor() -> int:
    return sys.__stdin__.fileno() if sys.__stdin__ is not None else 0


def _is_in_foreground(descriptor: int) -> bool:
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return False


def _forget_typed() -> None:
    """What was typed for a question that was taken back must not reach the shell as a command."""
    try:
        termios.tcflush(_descriptor(), termios.TCIFLUSH)
    except (OSError, ValueError, termios.error):
        pass


def _say(text: str) -> None:
    # Looked up each time: while a live view is shown, standard error is what puts lines above it.
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
