"""Lazy public modules ("faces"): names are resolved on first use and speak their public path.

A face is a module that only hands names on. It declares a table of name -> defining module and gives it to
:func:`lazy_face`; importing the face then costs nothing, and each class or function it hands on gets the face's
name as its ``__module__``, so that tracebacks, docs and pickles name the documented path.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any


def lazy_face(
    face: str, table: Mapping[str, str], missing: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a face.

    :param face: the public module's name, such as ``"flyte"``.
    :param table: public name -> module that defines it, or ``"module:attribute"`` where the names differ.
    :param missing: public names of the documented API that are not here yet -> what to say of each.
    """
    package = sys.modules[face]

    def __getattr__(name: str) -> Any:
        target = table.get(name)
        if target is None:
            if missing and name in missing:
                raise AttributeError(f"{face}.{name} is not available in this version: {missing[name]}")
            if name.startswith("_"):  # `from face import _module` asks before it imports: nothing was mistyped
                raise AttributeError(f"module {face!r} has no attribute {name!r}")
            raise AttributeError(f"module {face!r} has no attribute {name!r}{nearest(name, table)}")
        module, _, attribute = target.partition(":")
        value = getattr(importlib.import_module(module), attribute or name)
        if isinstance(value, (type, FunctionType)) and "._" in value.__module__:
            value.__module__ = face
        setattr(package, name, value)
        return value

    def __dir__() -> list[str]:
        return sorted({*vars(package), *table})

    return __getattr__, __dir__


def nearest(name: str, table: "Mapping[str, object] | list[str]") -> str:
    """A hint naming the entry of ``table`` that ``name`` was probably meant to be; empty when none is close."""
    # difflib is only worth its import once somebody has mistyped.
    from difflib import get_close_matches

    close = get_close_matches(name, table, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
