"""Environment variables that only one task's body sees.

Tasks with different variables run side by side in one process, so the process environment itself cannot be changed.
Instead ``os.environ`` consults a ContextVar first, from the first task on that declares variables or secrets; a program
that declares none keeps Python's own ``os.environ``. Child processes started through :mod:`subprocess` get what the
body sees. Threads that the body starts itself, ``os.system`` and C code see the process environment only.
"""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Absent(NamedTuple):
    """In place of a value: the variable is not set, and this is what the error says when the body asks for it."""

    reason: str


_overlay: ContextVar[dict[str, str | Absent] | None] = ContextVar("flyte_environ", default=None)
_lock = threading.Lock()


class _ContextEnviron(os._Environ):  # type: ignore[type-arg]
    """The process environment with the running body's variables on top."""

    def __getitem__(self, key: str) -> str:
        overlay = _overlay.get()
        if overlay is not None and key in overlay:
            value = overlay[key]
            if isinstance(value, Absent):
                raise KeyError(value.reason)
            return value
        return str(super().__getitem__(key))

    def __setitem__(self, key: str, value: str) -> None:
        overlay = _overlay.get()
        if overlay is not None and key in overlay:
            overlay[key] = value
        else:
            super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        overlay = _overlay.get()
        if overlay is not None and key in overlay:
            del overlay[key]
        else:
            super().__delitem__(key)

    def __iter__(self) -> Iterator[str]:
        overlay = _overlay.get() or {}
        yield from (key for key, value in overlay.items() if not isinstance(value, Absent))
        yield from (key for key in super().__iter__() if key not in overlay)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def is_changed() -> bool:
    """Whether this context sees variables of a body's own."""
    return _overlay.get() is not None


@contextmanager
def environment(variables: Mapping[str, str | Absent], *, alone: bool = False) -> Iterator[None]:
    """Show ``variables`` in ``os.environ`` to this context and what it starts, on top of those already shown.

    :param alone: in place of those already shown, which belong to a body that called this one.
    """
    _install()
    token = _overlay.set(dict(variables) if alone else {**(_overlay.get() or {}), **variables})
    try:
        yield
    except GeneratorExit:  # an abandoned body is thrown away outside the context that the token is of
        raise
    except BaseException:
        _overlay.reset(token)
        raise
    _overlay.reset(token)


def _install() -> None:
    if type(os.environ) is _ContextEnviron:
        return
    import subprocess

    with _lock:
        if type(os.environ) is _ContextEnviron:
            return
        # The object stays the same, so 'from os import environ' elsewhere sees the variables as well.
        os.environ.__class__ = _ContextEnviron
        start = subprocess.Popen.__init__

        def start_with_environment(self: Any, *args: Any, **kwargs: Any) -> None:
            # Without env= the child would inherit the C environment, which holds none of these variables. env is the
            # eleventh positional parameter of Popen.
            if _overlay.get() is not None and kwargs.get("env") is None and len(args) < 11:
                kwargs["env"] = dict(os.environ)
            start(self, *args, **kwargs)

        subprocess.Popen.__init__ = start_with_environment  # type: ignore[method-assign]
