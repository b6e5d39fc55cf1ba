"""Traced functions as steps of an action: their names, and the context that their bodies run in."""

import hashlib
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from flyte._core.context import TaskContext, current
from flyte._core.identity import hash_data
from flyte._core.interface import NativeInterface
from flyte._definition.cache import dump_of_source
from flyte._definition.discovery import code_bytes
from flyte.errors import RuntimeSystemError

from .boundary import Boundary, boundary_of

_steps: "WeakKeyDictionary[Callable[..., Any], tuple[str, str, Boundary]]" = WeakKeyDictionary()


def begin_trace(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> TaskContext:
    """The context for one call of a traced function; its name follows from the function and the arguments.

    :raises TypeError: an argument of the wrong type, or unknown.
    :raises RuntimeSystemError: outside a run.
    """
    parent = current.get()
    if parent is None:
        raise RuntimeSystemError("NoRun", "a traced function was recorded outside a run")
    step = _steps.get(function)
    if step is None:
        step = _steps[function] = _compile(function)
    name, identity, boundary = step
    data = b"".join(boundary.take(name, args, kwargs)[1])
    inputs_hash = hash_data(data) if data else ""
    sequence = parent.calls.next_sequence(identity, inputs_hash, parent.group)
    context = TaskContext(parent.execution, parent, name, None, (inputs_hash, identity, sequence))
    context.in_trace = True
    context.data = parent.data
    context.runner = parent.runner
    return context


def _compile(function: Callable[..., Any]) -> tuple[str, str, Boundary]:
    name = function.__name__
    try:
        body = dump_of_source(function).encode()
    except (OSError, TypeError, SyntaxError):  # typed at a prompt or generated: there is no source to read
        body = code_bytes(function.__code__)
    # Identity of a trace: its name and the hash of its syntax tree (wire-protocol section 6.2).
    return name, f"{name}-{hashlib.sha256(body).hexdigest()}", boundary_of(NativeInterface.from_callable(function))
