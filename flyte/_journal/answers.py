"""What a person may answer to a run that waits: the type in words and as a JSON schema, and reading what they typed.

An answer is JSON, so that it can be given and checked by a process that knows nothing of the user's classes. What a
schema does not say, such as a model's own validators, only the run itself can check.
"""

import datetime
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flyte._core.interface import describe

_PLAIN: dict[Any, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}
_YES, _NO = frozenset(("true", "yes", "y")), frozenset(("false", "no", "n"))
_SHOWN_CHARACTERS = 80

Schema = Mapping[str, Any]


class BadAnswer(ValueError):
    """A value that is not one of the declared type; the message says why."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer may be.

    :param type: in words, such as ``bool``.
    :param schema: JSON schema; None where JSON has no form for the type.
    """

    type: str
    schema: dict[str, Any] | None

    @property
    def is_yes_or_no(self) -> bool:
        """Whether the answer is a bool."""
        return self.schema == {"type": "boolean"}

    def read(self, text: str) -> str:
        """The JSON of an answer as a person types it: JSON, or plain text where a text is meant.

        :raises BadAnswer: it is not of this type.
        """
        schema = self._schema()
        if schema.get("type") == "string" and not {"format", "enum", "const"} & schema.keys():
            return self._checked(text, text)
        if self.is_yes_or_no:
            word = text.strip().lower()
            if word in _YES or word in _NO:
                return json.dumps(word in _YES)
            raise BadAnswer(f"{_shorten(text)} is not a {self.type}: answer yes or no")
        try:
            value = json.loads(text)
        except ValueError as error:
            if complaint(schema, text) is None:
                return json.dumps(text)
            # A word where a number is meant is no JSON either, but that would help nobody.
            why = str(error) if text.lstrip()[:1] in ("{", "[", '"') else complaint(schema, text)
            raise BadAnswer(f"{_shorten(text)} is not a {self.type}: {why}") from None
        if complaint(schema, value) is not None and complaint(schema, text) is None:
            value = text  # as in 2026 for a text or None
        return self._checked(value, text)

    def check(self, answer: str) -> None:
        """See that JSON is an answer of this type.

        :raises BadAnswer: it is not.
        """
        self._checked(json.loads(answer), answer)

    def _checked(self, value: Any, text: str) -> str:
        why = complaint(self._schema(), value)
        if why is not None:
            raise BadAnswer(f"{_shorten(text)} is not a {self.type}: {why}")
        return json.dumps(value, ensure_ascii=False)

    def _schema(self) -> dict[str, Any]:
        if self.schema is None:
            raise BadAnswer(
                f"a {self.type} has no form in JSON, so only Python in the process of the run can give it: "
                "flyte.signal(run, name, value)"
            )
        return self.schema


def form_of(annotation: Any) -> Form:
    """The form of the values of ``annotation``."""
    plain = _PLAIN.get(annotation)
    if plain is not None:
        return Form(describe(annotation), {"type": plain})
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        schema = TypeAdapter(annotation).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):
        return Form(describe(annotation), None)
    return Form(describe(annotation), schema)


def json_of(value: Any) -> str:
    """A Python value as the JSON of an answer.

    :raises BadAnswer: JSON has no form for it.
    """
    if value is None or type(value) in _PLAIN:
        return json.dumps(value, ensure_ascii=False)
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value).decode()
    except (PydanticSerializationError, ValueError) as error:
        raise BadAnswer(f"a {type(value).__qualname__} has no form in JSON: {error}") from None


def value_of(annotation: Any, answer: str) -> Any:
    """The value of the JSON of an answer.

    :raises BadAnswer: it is not of this type.
    """
    if annotation in _PLAIN:
        value = json.loads(answer)
        why = complaint({"type": _PLAIN[annotation]}, value)
        if why is not None:
            raise BadAnswer(f"{_shorten(answer)} is not a {describe(annotation)}: {why}")
        return annotation(value)
    from pydantic import TypeAdapter, ValidationError

    try:
        # Strict, because a list[int] that takes ["1"] would hide a mistake; JSON's own forms of dates are still read.
        return TypeAdapter(annotation).validate_json(answer, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "".join(f"[{step!r}]" for step in first["loc"])
        raise BadAnswer(
            f"{_shorten(answer)} is not a {describe(annotation)}: {f'at {where}: ' if where else ''}{first['msg']}"
        ) from None


def same(one: str | bytes, other: str | bytes) -> bool:
    """Whether two answers are the same value."""
    if isinstance(one, str) and isinstance(other, str):
        return bool(json.loads(one) == json.loads(other))
    return one == other


def _shorten(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]!r}..."


# Checking JSON by its schema ------------------------------------------------------------------------------------------

_TYPES: dict[str, tuple[str, Any]] = {
    "boolean": ("true or false", lambda v: isinstance(v, bool)),
    "integer": ("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    "number": ("a number", lambda v: isinstance(v, (int, float)) and not isinstance(v, bool)),
    "string": ("a text", lambda v: isinstance(v, str)),
    "null": ("null", lambda v: v is None),
    "array": ("a list", lambda v: isinstance(v, list)),
    "object": ("an object", lambda v: isinstance(v, dict)),
}
_FORMATS: dict[str, Any] = {
    "date-time": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
}
_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("minimum", lambda v, limit: v >= limit, "at least"),
    ("maximum", lambda v, limit: v <= limit, "at most"),
    ("exclusiveMinimum", lambda v, limit: v > limit, "greater than"),
    ("exclusiveMaximum", lambda v, limit: v < limit, "less than"),
)
_LENGTHS = (("minLength", "maxLength", "characters"), ("minItems", "maxItems", "items"))


def complaint(schema: Schema, value: Any) -> str | None:
    """What is wrong with ``value``; None if it fits. What this does not know of schemas it lets pass."""
    try:
        return _complaint(schema, value, schema.get("$defs", {}), "")
    except RecursionError:
        return None


def _complaint(schema: Any, value: Any, definitions: Schema, where: str) -> str | None:
    if not isinstance(schema, Mapping):
        return None
    if "$ref" in schema:
        named = definitions.get(str(schema["$ref"]).rpartition("/")[2])
        return _complaint(named, value, definitions, where)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            found = [_complaint(one, value, definitions, where) for one in schema[key]]
            if None not in found:
                return " or ".join(dict.fromkeys(why for why in found if why))
    for one in schema.get("allOf", ()):
        if why := _complaint(one, value, definitions, where):
            return why
    at = f"at {where}: " if where else ""
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None and value not in choices:
        return f"{at}it must be one of {', '.join(json.dumps(one) for one in choices)}"
    kind = schema.get("type")
    if kind in _TYPES:
        words, fits = _TYPES[kind]
        if not fits(value):
            return f"{at}it must be {words}"
    return _detail(schema, value, definitions, where, at)


def _detail(schema: Schema, value: Any, definitions: Schema, where: str, at: str) -> str | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and not (value != value or math.isinf(value)):
        for key, fits, words in _LIMITS:
            if key in schema and not fits(value, schema[key]):
                return f"{at}it must be {words} {schema[key]}"
    if isinstance(value, (str, list)):
        least, most, words = _LENGTHS[isinstance(value, list)]
        if len(value) < schema.get(least, 0):
            return f"{at}it must have at least {schema[least]} {words}"
        if len(value) > schema.get(most, math.inf):
            return f"{at}it must have at most {schema[most]} {words}"
    if isinstance(value, str) and schema.get("format") in _FORMATS:
        try:
            _FORMATS[schema["format"]](value)
        except ValueError:
            return f"{at}it must be a {schema['format']}, such as {_EXAMPLES[schema['format']]}"
    if isinstance(value, dict):
        return _fields(schema, value, definitions, where, at)
    if isinstance(value, list):
        first = schema.get("prefixItems", ())
        for position, item in enumerate(value):
            inner = first[position] if position < len(first) else schema.get("items")
            if why := _complaint(inner, item, definitions, f"{where}[{position}]"):
                return why
    return None


_EXAMPLES = {"date-time": "2026-02-28T19:30:00", "date": "2026-02-28", "time": "19:30"}


def _fields(schema: Schema, value: dict[str, Any], definitions: Schema, where: str, at: str) -> str | None:
    for name in schema.get("required", ()):
        if name not in value:
            return f"{at}{name!r} is missing"
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    for name, inner in value.items():
        if name not in known and others is False:
            return f"{at}there is no {name!r}; it has {', '.join(map(repr, known))}"
        if why := _complaint(known.get(name, others), inner, definitions, f"{where}[{name!r}]"):
            return why
    return None
