"""Ambient values: one default for the process, overridden by a context.

What ``flyte.init`` sets must be seen by every thread, yet a server may need two configurations at once; so an
ambient is a process-wide default plus a ContextVar override.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Generic, TypeVar

T = TypeVar("T")


class Ambient(Generic[T]):
    """A value with a process default and a context override."""

    def __init__(self, name: str) -> None:
        self._default: T | None = None
        self._override: ContextVar[T | None] = ContextVar(name, default=None)
        self._lock = threading.Lock()

    def get(self) -> T | None:
        """The override of this context, else the process default, else None."""
        return self._override.get() or self._default

    def set_default(self, value: T | None) -> None:
        """Replace the process default; safe to call from any thread."""
        with self._lock:
            self._default = value

    @contextmanager
    def override(self, value: T) -> Iterator[T]:
        """Use ``value`` within a ``with`` block of this context."""
        token = self._override.set(value)
        try:
            yield value
        finally:
            self._override.reset(token)
