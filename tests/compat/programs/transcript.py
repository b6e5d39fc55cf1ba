"""Canonical transcripts: values with their types, errors by the classes that a program can catch.

Imported by the programs beside this file, which run unchanged on any implementation of the public API.
"""

import asyncio
import builtins
import dataclasses
import datetime
import enum
import inspect
import pathlib
import sys

import flyte.errors

REFUSED = False
"""Set by programs about values: which of TypeError, ValueError and AssertionError refuses a value is of no matter."""


def form(value: object) -> str:
    """A value with its type, equal for equal values of equal type."""
    if value is None or isinstance(value, bool):
        return repr(value)
    if isinstance(value, enum.Enum):
        return f"{type(value).__name__}.{value.name}"
    if type(value) in (int, float, str, bytes):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, (datetime.datetime, datetime.date, datetime.timedelta)):
        return repr(value)
    if isinstance(value, tuple):
        name = type(value).__name__
        return ("" if name == "tuple" else name) + "(" + ", ".join(form(part) for part in value) + ")"
    if isinstance(value, list):
        return "[" + ", ".join(form(part) for part in value) + "]"
    if isinstance(value, (set, frozenset)):
        return type(value).__name__ + "{" + ", ".join(sorted(form(part) for part in value)) + "}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{form(key)}: {form(part)}" for key, part in value.items()) + "}"
    if isinstance(value, BaseException):
        return error(value)
    if isinstance(value, pathlib.PurePath):
        return f"Path:{value.as_posix()}"
    if isinstance(value, type):
        return f"type:{value.__name__}"
    if dataclasses.is_dataclass(value):
        parts = (f"{field.name}={form(getattr(value, field.name))}" for field in dataclasses.fields(value) if field.repr)
        return f"{type(value).__name__}(" + ", ".join(parts) + ")"
    fields = getattr(type(value), "model_fields", None)
    if fields is not None:
        return f"{type(value).__name__}(" + ", ".join(f"{name}={form(getattr(value, name))}" for name in fields) + ")"
    return f"<{type(value).__name__}>"


def error(raised: BaseException) -> str:
    """An error by the nearest class of flyte.errors or of Python that it is caught as, and its code if it has one."""
    if REFUSED and isinstance(raised, (TypeError, ValueError, AssertionError)):
        return "refused"
    code = getattr(raised, "code", None)
    said = f" code={code}" if isinstance(code, str) else ""
    if isinstance(raised, flyte.errors.RuntimeUserError):
        return "RuntimeUserError" + said
    for module in (flyte.errors, builtins):
        for kind in type(raised).__mro__:
            if getattr(module, kind.__name__, None) is kind:
                return kind.__name__ + said
    return "BaseException"


def show(label: str, value: object) -> None:
    """One line of the transcript."""
    print(f"{label} = {form(value)}", flush=True)


def attempt(label: str, action, *args, **kwargs):
    """Call and show the value or the error; coroutines are run to their end. Gives the value back, None on error."""
    try:
        value = action(*args, **kwargs)
        if inspect.isawaitable(value):
            async def wait():
                return await value
            value = asyncio.run(wait())
    except Exception as raised:
        print(f"{label} raises {error(raised)}", flush=True)
        if "-v" in sys.argv:
            print(f"    {type(raised).__mro__} {raised}"[:600], file=sys.stderr)
        return None
    show(label, value)
    return value


def accepted(label: str, action, *args, **kwargs):
    """As attempt, but the value itself is of no matter."""
    try:
        value = action(*args, **kwargs)
    except Exception as raised:
        print(f"{label} raises {error(raised)}", flush=True)
        if "-v" in sys.argv:
            print(f"    {type(raised).__mro__} {raised}"[:600], file=sys.stderr)
        return None
    print(f"{label} accepted", flush=True)
    return value
