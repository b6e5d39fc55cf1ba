"""From the text of an option to a typed value, by the parameter's annotation.

Called by `_params`, which makes options of an interface. It knows nothing of typer. Simple types are read by hand, so
that a run with an int pays for nothing; anything with structure is JSON, checked by pydantic, which is imported when a
value is really read.
"""

import datetime as dt
import enum
import json
import os
import pathlib
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from functools import partial
from typing import Any

from flyte._core.face import nearest
from flyte._core.interface import describe

SHOWN_CHARS = 80
"""How much of a bad value an error repeats."""


class BadValue(ValueError):
    """A text that is not a value of the parameter's type; says what was given and what was expected."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How a parameter is read.

    :param read: text -> value; raises :class:`BadValue`.
    :param metavar: what help shows in place of a value.
    :param choices: the texts allowed, if they can be listed.
    :param is_flag: ``--x/--no-x`` and no text at all.
    :param optional: whether None is a value.
    :param hint: what help says of the form of the text.
    """

    read: Callable[[str], Any]
    metavar: str
    choices: tuple[str, ...] = ()
    is_flag: bool = False
    optional: bool = False
    hint: str = ""


def reader_of(annotation: Any) -> Reader:
    """The reader for values of ``annotation``."""
    annotation = _bare(annotation)
    parts = [part for part in _union_parts(annotation) if part is not type(None)]
    optional = len(parts) < len(_union_parts(annotation))
    inner = _reader_of_parts(annotation, parts)
    if not optional or inner.is_flag:
        return Reader(inner.read, inner.metavar, inner.choices, inner.is_flag, optional, inner.hint)
    choices = (*inner.choices, "null") if inner.choices else ()
    metavar = "|".join(choices) if choices else inner.metavar
    return Reader(partial(_read_optional, inner.read), metavar, choices, False, True, inner.hint)


def _reader_of_parts(annotation: Any, parts: list[Any]) -> Reader:
    if len(parts) == 1:
        return _reader_of_one(_bare(parts[0]))
    plain = [_bare(part) for part in parts]
    if plain and all(part in _JSON_SCALARS for part in plain):
        expected = " or ".join(describe(part) for part in plain)
        return Reader(partial(_read_scalar_union, plain, expected), f"<{'|'.join(describe(p) for p in plain)}>")
    return _json_reader(annotation, text_allowed=True)


def _reader_of_one(annotation: Any) -> Reader:
    if annotation is bool:
        return Reader(_read_bool, "", is_flag=True)
    if annotation in _LEAVES:
        read, expected, hint = _LEAVES[annotation]
        return Reader(partial(_read_leaf, read, expected), f"<{describe(annotation).rpartition('.')[2]}>", hint=hint)
    if annotation is Any:
        return Reader(_read_any, "<any>", hint="JSON, or text")
    if typing.get_origin(annotation) is typing.Literal:
        values = {_literal_text(value): value for value in typing.get_args(annotation)}
        return Reader(partial(_read_choice, values), "|".join(values), tuple(values))
    if isinstance(annotation, type):
        if issubclass(annotation, enum.Enum):
            members = dict(annotation.__members__)
            return Reader(partial(_read_member, members), "|".join(members), tuple(members))
        if (annotation.__module__, annotation.__name__) in _CONSTRUCTED:
            return Reader(partial(_read_leaf, annotation, annotation.__name__), f"<{annotation.__name__}>")
        if kind := getattr(annotation, "__flyte_reference__", None):
            return Reader(partial(_read_reference, annotation, kind), "<path>", hint="path or URI, or JSON")
        if issubclass(annotation, pathlib.PurePath):
            return Reader(partial(_read_leaf, annotation, "path"), "<path>")
    return _json_reader(annotation)


def _read_reference(annotation: Any, kind: str, text: str) -> Any:
    """A file, folder or frame of :mod:`flyte.io` by its path or URI; JSON gives its other fields as well."""
    if text.lstrip().startswith("{") and kind != "dataframe":
        return _json_reader(annotation).read(text)
    if "://" not in text:
        path = pathlib.Path(text).absolute()
        there = path.exists() if kind == "dataframe" else path.is_dir() if kind == "dir" else path.is_file()
        if not there:
            what = {"dir": "folder", "dataframe": "parquet file or folder"}.get(kind, "file")
            raise BadValue(f"there is no {what} {text!r} here; give a path, a URI such as s3://bucket/key, or JSON")
        text = str(path)
    if kind == "dataframe":
        return annotation.from_existing_remote(text)
    return annotation(path=text, name=text.rstrip("/").rpartition("/")[2])


def _bare(annotation: Any) -> Any:
    """Without ``Annotated`` and a ``NewType``'s name."""
    while True:
        if typing.get_origin(annotation) is typing.Annotated:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


def _union_parts(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def shorten(text: str) -> str:
    """``text`` in quotes, cut to a length that an error line can carry."""
    return repr(text) if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]!r}..."


def _not_a(text: str, expected: str, detail: str = "") -> BadValue:
    return BadValue(f"{shorten(text)} is not a valid {expected}{f': {detail}' if detail else ''}")


# Scalars --------------------------------------------------------------------------------------------------------------


def _read_optional(read: Callable[[str], Any], text: str) -> Any:
    return None if text == "null" else read(text)


def _read_leaf(read: Callable[[str], Any], expected: str, text: str) -> Any:
    try:
        return read(text)
    except BadValue:
        raise
    except (ValueError, ArithmeticError):
        raise _not_a(text, expected) from None


def _read_bool(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise _not_a(text, "bool", "use true or false")


def _read_any(text: str) -> Any:
    if text.startswith("@"):
        return _parse_json(_file_text(text), "JSON document", text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def _read_scalar_union(members: list[Any], expected: str, text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if type(value) in members:
        return value
    if type(value) is int and float in members:
        return float(value)
    if str in members:
        return text
    raise _not_a(text, expected)


def _read_choice(values: dict[str, Any], text: str) -> Any:
    if text in values:
        return values[text]
    raise BadValue(f"{shorten(text)} is not one of {', '.join(values)}{nearest(text, values)}")


def _read_member(members: dict[str, enum.Enum], text: str) -> Any:
    if text in members:
        return members[text]
    # The value is what the wire carries and what --output json prints, so it is understood too.
    for member in members.values():
        if str(member.value) == text:
            return member
    raise BadValue(f"{shorten(text)} is not one of {', '.join(members)}{nearest(text, members)}")


def _literal_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return value.name if isinstance(value, enum.Enum) else str(value)


def _read_bytes(text: str) -> bytes:
    if not text.startswith("@"):
        return text.encode()
    try:
        return pathlib.Path(text[1:]).read_bytes()
    except OSError as error:
        raise BadValue(f"cannot read {shorten(text[1:])}: {error.strerror}") from None


def _read_datetime(text: str) -> dt.datetime:
    if text == "now":
        return dt.datetime.now(dt.UTC)
    if text == "today":  # where the user is: midnight in the local time zone
        return dt.datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
    return dt.datetime.fromisoformat(text)


def _read_date(text: str) -> dt.date:
    if text in ("now", "today"):
        return dt.datetime.now().astimezone().date()
    return dt.date.fromisoformat(text)


_UNITS_S = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
# In words as people write them: "1 day", "90 minutes 3s".
_UNIT_WORDS = {
    "week": "w", "day": "d", "hour": "h", "hr": "h", "minute": "m", "min": "m", "second": "s", "sec": "s",
    "millisecond": "ms", "microsecond": "us",
}  # fmt: skip
_PART = r"(\d+(?:\.\d+)?)\s*([a-z]+)\s*"
_ISO = (
    r"P(?:(?P<w>\d+(?:\.\d+)?)W)?(?:(?P<d>\d+(?:\.\d+)?)D)?"
    r"(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)


def _read_timedelta(text: str) -> dt.timedelta:
    import re  # compiling the patterns is only worth it when a duration is read

    body = text.strip().removeprefix("-")
    sign = -1 if body != text.strip() else 1
    iso = re.fullmatch(_ISO, body)
    if iso and any(iso.groups()):
        return sign * dt.timedelta(seconds=sum(_UNITS_S[u] * float(n) for u, n in iso.groupdict().items() if n))
    total_s, position = 0.0, 0
    part = re.compile(_PART)
    while found := part.match(body, position):
        unit = _UNIT_WORDS.get(found[2].removesuffix("s"), found[2])
        if unit not in _UNITS_S:
            raise ValueError
        total_s += float(found[1]) * _UNITS_S[unit]
        position = found.end()
    if position == 0:
        total_s, position = float(body), len(body)
    if position != len(body):
        raise ValueError
    return sign * dt.timedelta(seconds=total_s)


_DURATION_HINT = "such as 90s, 1h30m, 2 hours, PT90S or a number of seconds"
# Type -> how to read it, what to call it in an error, and what help says of its form.
_LEAVES: dict[Any, tuple[Callable[[str], Any], str, str]] = {
    str: (str, "text", ""),
    int: (int, "int", ""),
    float: (float, "float", ""),
    bytes: (_read_bytes, "bytes", "text, or @FILE for a file's content"),
    dt.datetime: (_read_datetime, "datetime (ISO 8601, now or today)", "ISO 8601, now or today"),
    dt.date: (_read_date, "date (ISO 8601 or today)", "ISO 8601 or today"),
    dt.time: (dt.time.fromisoformat, "time (ISO 8601)", "ISO 8601"),
    dt.timedelta: (_read_timedelta, f"duration ({_DURATION_HINT})", _DURATION_HINT),
}
# Classes made of their text, by name: importing them for a parameter that nobody has would cost a millisecond each.
_CONSTRUCTED = {("decimal", "Decimal"), ("uuid", "UUID"), ("fractions", "Fraction")}
_JSON_SCALARS = (str, int, float, bool)


# Structured values ----------------------------------------------------------------------------------------------------


def _json_reader(annotation: Any, text_allowed: bool = False) -> Reader:
    shown = describe(annotation)
    return Reader(partial(_read_json, annotation, shown, text_allowed), f"<{shown}>", hint="JSON, or @FILE")


def _read_json(annotation: Any, shown: str, text_allowed: bool, text: str) -> Any:
    # One of a union's members may be plain text, which may by chance be the name of a file: there only @FILE is one.
    is_plain = text_allowed or text.startswith("@") or _is_json(text)
    source = text if is_plain else _as_file(text, shown)
    given = _file_text(source) if source.startswith("@") else text
    if text_allowed and not text.startswith("@") and not _is_json(given):
        given = json.dumps(given)  # one of the union's members may be written as plain text
    _parse_json(given, f"{shown} as JSON", text)
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    try:
        adapter = TypeAdapter(_with_readable_typed_dicts(annotation))
    except PydanticUserError as error:
        reason = "JSON has no form for it" if error.code == "schema-for-unknown-type" else str(error).partition("\n")[0]
        raise BadValue(f"a value of type {shown} cannot be given on the command line: {reason}") from None
    try:
        # Strict, because a list[int] that takes ["1"] would hide a mistake; JSON's own forms of dates are still read.
        return adapter.validate_json(given, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "".join(f"[{step!r}]" for step in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise _not_a(text, shown, f"{f'at {where}: ' if where else ''}{first['msg']}{more}") from None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _as_file(text: str, shown: str) -> str:
    """``@`` and the text if it names a file, as the published command takes it; else the text."""
    if os.path.isfile(text):
        return f"@{text}"
    if text.endswith(".json"):
        raise _not_a(text, f"{shown} as JSON", "there is no file of that name")
    return text


def _parse_json(given: str, expected: str, text: str) -> Any:
    try:
        return json.loads(given)
    except ValueError as error:
        raise _not_a(text, expected, str(error)) from None


def _file_text(text: str) -> str:
    import sys

    try:
        return sys.stdin.read() if text == "@-" else pathlib.Path(text[1:]).read_text(encoding="utf-8")
    except OSError as error:
        raise BadValue(f"cannot read {shorten(text[1:])}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadValue(f"{shorten(text[1:])} is not a file of UTF-8 text") from None


def _with_readable_typed_dicts(annotation: Any) -> Any:
    """``annotation`` with ``typing.TypedDict`` classes in the form that pydantic reads on Python below 3.12."""
    if typing.is_typeddict(annotation) and type(annotation).__module__ == "typing":
        from typing import NotRequired, Required

        from typing_extensions import TypedDict

        hints = {
            name: (Required if name in annotation.__required_keys__ else NotRequired)[_with_readable_typed_dicts(hint)]
            for name, hint in typing.get_type_hints(annotation, include_extras=True).items()
        }
        return TypedDict(annotation.__name__, hints)  # type: ignore[operator]
    arguments = typing.get_args(annotation)
    if not arguments or typing.get_origin(annotation) in (typing.Literal, typing.Annotated):
        return annotation
    changed = tuple(_with_readable_typed_dicts(part) for part in arguments)
    if all(new is old for new, old in zip(changed, arguments, strict=True)):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return typing.Union[changed]  # noqa: UP007
    return origin[changed]


# Back to text ---------------------------------------------------------------------------------------------------------


def text_of(value: Any) -> str:
    """``value`` as a user would write it on the command line, for showing defaults; cut when long."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str):
        text = value or '""'
    elif isinstance(value, bytes):
        return text_of(value.decode("utf-8", "backslashreplace"))
    elif value is None or isinstance(value, bool):
        text = _literal_text(value)
    elif isinstance(value, (dt.datetime, dt.date, dt.time)):
        text = value.isoformat()
    elif isinstance(value, dt.timedelta):
        text = f"{value.total_seconds():g}s"
    elif isinstance(value, (list, dict, tuple)) or (is_dataclass(value) and not isinstance(value, type)):
        from ._render import json_text

        text = json_text(value)
    elif callable(dump := getattr(value, "model_dump_json", None)):
        text = str(dump())
    elif repr(value) == object.__repr__(value):
        text = f"an instance of {describe(type(value))}"  # its address would tell nothing
    else:
        text = str(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."
