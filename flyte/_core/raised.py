"""An exception as one line of text, and back: which class it is of, and the plain values in it.

What a container left of a failure travels as text only. The line at its end names the class, so that the caller can
catch what was raised. Reading it never runs code that the text chooses: a class is only looked up among those that this
process has imported already, nothing of its own is called, and the values are literals.
"""

import ast
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import MemberDescriptorType
from typing import Any, cast

from flyte import errors
from flyte.errors import BaseRuntimeError, ErrorKind, _hybrid_class

_MOST_CHARACTERS = 4000
"""More than this of values is left behind; a control plane may cut long messages."""
_DEEPEST = 8
_LINE = re.compile(r"(?P<module>[\w.]+):(?P<name>[\w.]+)(?: (?P<values>\{.*\}))?")
ELSEWHERE = "there:"
"""How a note begins that holds the frames of another process."""
_OWN = ("__", "_flyte", "_original")
"""Attributes whose names begin like this are nobody's to set."""
_OF_THE_TREE = frozenset(("code", "kind", "worker"))
_HOOKS = frozenset(("__init_subclass__", "__setattr__", "__getattr__", "__getattribute__", "__del__"))
_IS_HEAP_TYPE = 1 << 9


def class_of(error: BaseException) -> type[BaseException]:
    """The class that was raised, also of an error that is a :class:`flyte.errors.RuntimeUserError` besides."""
    found: type[BaseException] = getattr(type(error), "_original", type(error))
    return found


def code_of(error: BaseException) -> str:
    """The code of an error: its own if that is a word or a number, else the name of its class."""
    code = getattr(error, "code", None)
    return str(code) if code and type(code) in (str, int) else class_of(error).__name__


def kind_of(error: BaseException, otherwise: ErrorKind) -> ErrorKind:
    """Who must act on an error."""
    kind = getattr(error, "kind", None)
    return cast(ErrorKind, kind) if kind in ("user", "system", "unknown") else otherwise


@dataclass(frozen=True, slots=True)
class Raised:
    """What is told of an exception beside its message.

    :param module: where its class is.
    :param name: qualified name of the class.
    :param args: what it was made with; None if that did not travel.
    :param state: its attributes, as far as they are plain values.
    :param left: names of the attributes that are not.
    :param members: of an exception group: line and message of each.
    :param cause: line and message of what it was raised from, if it was.
    :param notes: what was added to it.
    """

    module: str
    name: str
    args: tuple[Any, ...] | None = None
    state: Mapping[str, Any] = field(default_factory=dict)
    left: Sequence[str] = ()
    members: Sequence[tuple[str, str]] = ()
    cause: tuple[str, str] | None = None
    notes: Sequence[str] = ()

    @property
    def short_name(self) -> str:
        """The name of the class alone."""
        return self.name.rpartition(".")[2]


# Writing ------------------------------------------------------------------------------------------------------------


def line_of(error: BaseException, depth: int = _DEEPEST) -> str:
    """The line that :func:`read_line` reads; empty for what is no :class:`Exception`.

    :param depth: so many levels of members and causes are told.
    """
    cls = class_of(error)
    if not issubclass(cls, Exception):
        return ""
    values: dict[str, Any] = {}
    room = _MOST_CHARACTERS
    if vars(errors).get(cls.__name__) is cls:
        pass  # its message is all that it was made with, besides what it keeps as attributes
    elif isinstance(error, BaseExceptionGroup):
        members = [(line_of(one, depth - 1), str(one)) for one in error.exceptions if depth]
        values["args"], values["members"] = (error.message,), members
        room -= len(repr(members))
    elif (text := _literal(error.args)) is not None and len(text) <= room:
        values["args"] = error.args
        room -= len(text)
    state, left = {}, []
    for name, value in _state_of(error, cls):
        text = _literal(value)
        if text is None or len(text) + len(name) > room:
            left.append(name)
        else:
            state[name] = value
            room -= len(text) + len(name)
    more: dict[str, Any] = {"state": state, "left": left}
    notes = [note for note in getattr(error, "__notes__", ()) if type(note) is str and not note.startswith(ELSEWHERE)]
    above = error.__cause__
    cause = (line_of(above, depth - 1), str(above)) if above is not None and depth else None
    for name, value in (("notes", notes), ("cause", cause)):
        if value and len(repr(value)) <= room:
            more[name] = value
            room -= len(repr(value))
    values |= {key: value for key, value in more.items() if value}
    where = f"{cls.__module__}:{cls.__qualname__}"
    return f"{where} {values!r}" if values and room >= 0 else where


def _state_of(error: BaseException, cls: type[BaseException]) -> list[tuple[str, Any]]:
    """Names and values of the attributes that its class and its user gave an error."""
    found = {}
    for base in cls.__mro__[: cls.__mro__.index(BaseException)]:
        for name, member in vars(base).items():
            # The C-level fields of a built-in class, and __slots__.
            if isinstance(member, MemberDescriptorType) and not name.startswith(_OWN):
                value = getattr(error, name, None)
                if value is not None and value is not error.args:
                    found[name] = value
    if isinstance(error, BaseExceptionGroup):  # told as members
        found.pop("exceptions", None)
        found.pop("message", None)
    kept = vars(error)
    if issubclass(cls, BaseRuntimeError):
        defaults = {name: kept.get(name) for name in _OF_THE_TREE}
    else:
        defaults = {"code": cls.__name__, "kind": "user", "worker": None}
    found |= {
        name: value
        for name, value in kept.items()
        if isinstance(name, str) and not name.startswith(_OWN) and not (name in defaults and value == defaults[name])
    }
    return list(found.items())


def _literal(value: Any) -> str | None:
    """``value`` as Python writes it, if it is a plain value that reads back as itself."""
    if not _is_plain(value, _DEEPEST):
        return None
    try:
        return repr(value)
    except ValueError:  # a number of many thousand digits
        return None


def _is_plain(value: Any, depth: int) -> bool:
    kind = type(value)
    if kind in (str, bytes, int, bool, type(None)):
        return True
    if kind is float:
        return bool(value - value == 0.0)  # neither infinite nor a NaN, which are no literals
    if depth and kind in (tuple, list, set):
        return all(_is_plain(one, depth - 1) for one in value)
    return bool(
        depth
        and kind is dict
        and all(_is_plain(key, depth - 1) and _is_plain(one, depth - 1) for key, one in value.items())
    )


# Reading ------------------------------------------------------------------------------------------------------------


def read_line(line: str) -> Raised | None:
    """What a line says; None if it is none, or a damaged one."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    raised = Raised(match["module"], match["name"])
    if not match["values"]:
        return raised
    try:
        said = ast.literal_eval(match["values"])
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return raised
    if not isinstance(said, dict):
        return raised
    args, state, left = said.get("args"), said.get("state"), said.get("left")
    members, cause, notes = said.get("members"), said.get("cause"), said.get("notes")
    return Raised(
        raised.module,
        raised.name,
        args if isinstance(args, tuple) else None,
        state if isinstance(state, dict) else {},
        [str(name) for name in left] if isinstance(left, list) else (),
        [_pair(one) for one in members] if isinstance(members, list) else (),
        _pair(cause) if cause else None,
        [str(note) for note in notes] if isinstance(notes, list) else (),
    )


def _pair(said: Any) -> tuple[str, str]:
    return (str(said[0]), str(said[1])) if isinstance(said, tuple) and len(said) == 2 else ("", str(said))


def error_made_from(
    raised: Raised,
    message: str,
    *,
    code: str,
    kind: ErrorKind,
    worker: str | None = None,
    known: Sequence[Mapping[str, Any]] = (),
) -> BaseRuntimeError | None:
    """The error that a line tells of, of the class that was raised; None if this process does not have it.

    No method of that class is called, neither now nor to show the error: ``str()`` of it is ``message``.

    :param known: further names to look for the class in, such as the globals of a function that came pickled.
    """
    cls = _found(raised, known)
    made = _joined(cls) if cls is not None else None
    if cls is None or made is None:
        return None
    args: tuple[Any, ...] = raised.args if raised.args is not None else (message,)
    if issubclass(cls, BaseExceptionGroup):
        members = [_member(line, text, known) for line, text in raised.members]
        if len(args) != 1 or not members:
            return None
        args = (str(args[0]), members)
    base = cast(Any, next(one for one in made.__mro__ if not one.__flags__ & _IS_HEAP_TYPE))
    try:
        error = cast(BaseRuntimeError, base.__new__(made, *args))
        if raised.args is not None:
            with suppress(TypeError):
                base.__init__(error, *args)
    except (TypeError, ValueError):  # what a built-in class says to values that no such error holds
        return None
    cast(Any, BaseException).args.__set__(error, args)
    state: dict[str, Any] = {"_flyte_said": message}
    for name, value in (("code", code), ("kind", kind), ("worker", worker)):
        if not any(name in vars(one) for one in cls.__mro__):  # its own, for the whole class
            state[name] = value
    for name, value in raised.state.items():
        if isinstance(name, str) and not name.startswith(_OWN) and not hasattr(BaseException, name):
            member = _field(cls, name)
            if member is None:
                state[name] = value
            else:
                with suppress(TypeError, AttributeError):  # of another type, or read-only
                    member.__set__(error, value)
    vars(error).update(state)
    if raised.cause is not None:
        error.__cause__ = _member(*raised.cause, known)
    for note in raised.notes:
        error.add_note(note)
    if raised.left:
        error.add_note(f"attributes that are no plain values did not come along: {', '.join(raised.left)}")
    return error


def _member(line: str, message: str, known: Sequence[Mapping[str, Any]]) -> Exception:
    raised = read_line(line)
    name = raised.short_name if raised is not None else "Unknown"
    made = error_made_from(raised, message, code=name, kind="user", known=known) if raised is not None else None
    return made if made is not None else errors.RuntimeUserError(name, message)


def _found(raised: Raised, known: Sequence[Mapping[str, Any]]) -> type[Exception] | None:
    """The class, if it is one of those that this process has imported; none is imported for this."""
    module = sys.modules.get(raised.module)
    namespaces = [object.__getattribute__(module, "__dict__")] if module is not None else []
    for names in (*namespaces, *known):
        found: Any = None
        inside = names
        for word in raised.name.split("."):
            found = inside.get(word)
            if type(found) is not type:
                found = None
                break
            inside = vars(found)
        if found is None or Exception not in found.__mro__:
            continue
        if found.__module__ != raised.module or found.__qualname__ != raised.name:
            continue
        # What would run by itself, because of what is in the text, is left alone.
        if not any(_HOOKS & vars(one).keys() for one in found.__mro__ if one.__flags__ & _IS_HEAP_TYPE):
            return cast(type[Exception], found)
    return None


_joined_classes: dict[type[Exception], type[BaseRuntimeError] | None] = {}


def _joined(cls: type[Exception]) -> type[BaseRuntimeError] | None:
    """A class that is ``cls`` and a :class:`BaseRuntimeError`, and that shows what it was told."""
    if cls not in _joined_classes:
        base = cls if issubclass(cls, BaseRuntimeError) else _hybrid_class(cls)
        made: type[BaseRuntimeError] | None = cast(Any, base)
        if base is not None and vars(errors).get(cls.__name__) is not cls:
            names = {
                "__module__": cls.__module__,
                "__qualname__": cls.__qualname__,
                "__doc__": cls.__doc__,
                "__str__": _said,
                "__repr__": BaseException.__repr__,
                "__reduce__": _reduce,
                "_original": cls,
            }
            made = cast(Any, type(cls.__name__, (base,), names))
        _joined_classes[cls] = made
    return _joined_classes[cls]


def _said(error: BaseException) -> str:
    return str(vars(error)["_flyte_said"])


def _reduce(error: BaseException) -> tuple[Any, ...]:
    return _rebuild, (class_of(error), error.args, dict(vars(error)))


def _rebuild(cls: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> BaseException:
    made = cast(Any, _joined(cls))
    base = cast(Any, next(one for one in made.__mro__ if not one.__flags__ & _IS_HEAP_TYPE))
    error: BaseException = base.__new__(made, *args)
    error.args = args
    vars(error).update(state)
    return error


def _field(cls: type[Exception], name: str) -> Any:
    """The C-level field of that name."""
    for one in cls.__mro__:
        member = vars(one).get(name)
        if isinstance(member, MemberDescriptorType):
            return member
    return None
