"""What distinguishes one version of a task's code from another; the same for every controller and on the wire."""

import hashlib
import inspect
from types import CodeType
from typing import Any

from flyte._core.code_bundle import CodeBundle
from flyte._core.log import logger

from .cache import Cache, FunctionBodyPolicy
from .cache_policy import VersionParameters
from .task import TaskTemplate


def discovery_version(task: TaskTemplate[Any, Any, Any], bundle: CodeBundle | None = None) -> str:
    """The version that results of a task are kept under (wire-protocol section 4.5).

    A pickled task goes by its bundle; else it is the cache's version, or with the cache off the hash of the function's
    body. Empty for what is no function and names no version.

    :param bundle: the code that the task runs from.
    """
    if bundle is not None and bundle.pkl is not None:
        return bundle.computed_version
    func = getattr(task, "func", None)
    cache = task.cache
    assert isinstance(cache, Cache)  # normalised by the template
    if func is None:
        # A container task, for one, knows a version of itself.
        version: str = getattr(task, "definition_version", "")
        return (cache.version_override if cache.is_enabled() else None) or version
    parameters: VersionParameters[..., Any] = VersionParameters(func=func, image=None)
    if cache.is_enabled():
        try:
            return cache.get_version(parameters)
        except Exception as error:  # a policy is the user's code: whatever it raises, the task still needs a name
            logger.debug("the version of task %r follows from its body alone: %s", task.name, error)
    try:
        return FunctionBodyPolicy().get_version("", parameters)
    except (OSError, TypeError):  # typed at a prompt or generated: there is no source to read
        code = getattr(inspect.unwrap(func), "__code__", None)
        return "" if code is None else hashlib.sha256(code_bytes(code)).hexdigest()


def code_bytes(code: CodeType) -> bytes:
    """What a compiled function does, as bytes: instructions, names and constants, those of inner functions too.

    Stands for the source where there is none; equal for equal code of one Python release.
    """
    constants = [code_bytes(c) if isinstance(c, CodeType) else _constant(c) for c in code.co_consts]
    return repr((code.co_code, code.co_names, code.co_varnames, constants)).encode()


def _constant(value: Any) -> str:
    # The order of a set's elements differs between processes.
    shown = sorted(map(repr, value)) if isinstance(value, frozenset) else value
    return f"{type(value).__name__} {shown!r}"
