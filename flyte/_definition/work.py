"""Telling whether a task is still the same work: its own code, and that of the user's functions it reaches.

Recovery takes the result of an earlier run only when this version is the same. It is finer than the version on the
wire, which knows the body of the task's function alone.
"""

import hashlib
import inspect
import os
import site
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

from .discovery import code_bytes, discovery_version
from .task import TaskTemplate

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def work_version(task: TaskTemplate[Any, Any, Any]) -> str:
    """The version of a task as recovery compares it, in hex.

    It changes with what changes the version on the wire, and with the code of the user's own functions and classes that
    the task's function names, and those name, however far. Functions that are imported inside a body, or found at run
    time, are not seen, nor are the values of variables.
    """
    version = hashlib.sha256(discovery_version(task).encode())
    func = getattr(task, "func", None)
    if func is not None:
        for line in sorted(_reached(inspect.unwrap(func))):
            version.update(line)
    return version.hexdigest()


def _reached(func: Any) -> Iterator[bytes]:
    """The code of each function that ``func`` reaches, itself not included."""
    waiting, seen = [func], {id(func)}
    while waiting:
        for found in _named_by(waiting.pop()):
            if id(found) in seen:
                continue
            seen.add(id(found))
            waiting.append(found)
            if isinstance(found, FunctionType):
                where = f"{found.__module__}.{found.__qualname__}:".encode()
                yield where + hashlib.sha256(code_bytes(found.__code__)).hexdigest().encode()


def _named_by(thing: Any) -> Iterator[Any]:
    """The user's functions and classes that a function or class names."""
    if isinstance(thing, type):
        for member in (*vars(thing).values(), *thing.__bases__):
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            yield from _users(inner)
        return
    code = getattr(thing, "__code__", None)
    if code is None:
        return
    names = set(_names_in(code))
    for name in names:
        found = thing.__globals__.get(name)
        if isinstance(found, ModuleType):
            if _is_users_file(getattr(found, "__file__", None)):
                for member in names:
                    yield from _users(vars(found).get(member))
        else:
            yield from _users(found)
    for cell in thing.__closure__ or ():
        try:
            yield from _users(cell.cell_contents)
        except ValueError:  # not filled yet
            continue


def _users(found: Any) -> Iterator[Any]:
    if isinstance(found, type):
        if _is_users_file(_file_of_module(found.__module__)):
            yield found
    elif callable(found):
        try:
            bare = inspect.unwrap(found)
        except ValueError:  # wrapped in itself
            return
        # A task is known by what the run recorded of it, not by what the code names.
        if isinstance(bare, FunctionType) and _is_users_file(bare.__code__.co_filename):
            yield bare


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _file_of_module(name: str) -> str | None:
    import sys

    return getattr(sys.modules.get(name), "__file__", None) if name != "__main__" else ""


@lru_cache(maxsize=4096)
def _is_users_file(path: str | None) -> bool:
    if path is None:
        return False
    # From `site`, which Python itself has loaded; asking `sysconfig` reads what the interpreter was built with.
    installed = (os.path.dirname(os.__file__), *site.getsitepackages())
    above = os.path.abspath(path) if path and not path.startswith("<") else path
    inside = any(above.startswith(folder + os.sep) for folder in (*installed, _OWN))
    return not inside or above.startswith(os.path.join(_OWN, "_examples") + os.sep)
