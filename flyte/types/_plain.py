"""The plain form of a value inside a structure: what msgpack can hold.

A dataclass, a tuple or a dict with other than text keys travels as one msgpack payload. Inside it every annotation has
a :class:`Plain`: compiled functions from a value to its plain form (None, bool, int, float, str, bytes, list, dict) and
back. Two dialects write some leaves differently (wire-protocol section 7): "dataclass" (datetime in ISO form, timedelta
in seconds, an Enum's value) and "json" as pydantic dumps to JSON (timedelta in ISO form, an Enum's name, text as keys).

Where the plain form alone would not give back the same type (``str | date``, a tuple inside ``Any``), the value travels
as a mark, ``{"$variant": name, "value": plain}``. Marks are looked up in the declared type only.
"""

import typing
from collections.abc import Callable
from typing import Any

from flyte._core.interface import describe
from flyte.types._mismatch import Mismatch

Dialect = typing.Literal["dataclass", "json"]
Convert = Callable[[Any], Any]

VARIANT, VALUE = "$variant", "value"
PLAIN_CLASSES = (type(None), bool, int, float, str, bytes, list, dict)


class Plain:
    """How one annotation looks inside a msgpack payload.

    :param annotation: the annotation.
    :param pack: value -> plain form; raises Mismatch.
    :param unpack: plain form -> value, never sharing anything mutable with it; raises Mismatch.
    :param canon: value -> plain form with the keys of all maps sorted; ``pack`` where there are no maps.
    :param through: classes whose instances are their own plain form, in both directions.
    :param kinds: classes that the plain form may have.
    :param owns: classes whose instances are this annotation's own; a union asks.
    :param schema: definitions -> JSON schema.
    :param fits: whether a plain form looks like one of this annotation; None when nobody can tell.
    :param dumped: whether ``canon`` is no more than ``pack`` with the maps sorted.
    """

    def __init__(
        self,
        annotation: Any,
        pack: Convert,
        unpack: Convert,
        *,
        canon: Convert | None = None,
        through: frozenset[type] = frozenset(),
        kinds: typing.Iterable[type] = PLAIN_CLASSES,
        owns: typing.Iterable[type] = (),
        schema: "Callable[[SchemaContext], dict[str, Any]]",
        fits: Callable[[Any], bool] | None = None,
        dumped: bool = False,
    ) -> None:
        self.annotation = annotation
        self.pack = pack
        self.unpack = unpack
        self.canon = canon or pack
        self.through = through
        self.kinds = frozenset(kinds)
        self.owns = frozenset(owns)
        self.schema = schema
        self.fits = fits
        self.dumped = dumped

    def describe(self) -> str:
        """The annotation in readable words."""
        return describe(self.annotation)


class SchemaContext:
    """Definitions of recursive classes, collected while a schema is written."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}
        self.open: list[Any] = []
        self.recursive: set[Any] = set()


def marked(name: str, plain: Any) -> dict[str, Any]:
    """The plain form that names the variant it is of."""
    return {VARIANT: name, VALUE: plain}


def mark_of(plain: Any) -> str | None:
    """The variant that a plain form names; None when it is not a mark."""
    if type(plain) is dict and len(plain) == 2 and VARIANT in plain and VALUE in plain:
        name = plain[VARIANT]
        return name if type(name) is str else None
    return None


def through(annotation: Any, cls: type, schema: dict[str, Any], convert: Convert | None = None) -> Plain:
    """A leaf that is its own plain form; subclasses become the class itself."""
    words = describe(annotation)

    def pack(value: Any) -> Any:
        if type(value) is cls:
            return value
        if convert is not None:
            return convert(value)
        raise Mismatch(words, value)

    def unpack(plain: Any) -> Any:
        if type(plain) is cls:
            return plain
        raise Mismatch(words, plain)

    return Plain(
        annotation,
        pack,
        unpack,
        through=frozenset((cls,)),
        kinds=(cls,),
        owns=(cls,),
        schema=lambda _: dict(schema),
    )


def converted(
    annotation: Any,
    cls: type,
    write: Convert,
    read: Convert,
    schema: dict[str, Any],
    kinds: typing.Iterable[type],
) -> Plain:
    """A leaf with a plain form of its own.

    :param write: value -> plain form.
    :param read: plain form -> value; what it raises as ValueError, TypeError, OverflowError or ArithmeticError
        means that the plain form is not one.
    """
    words = describe(annotation)
    taken = frozenset(kinds)

    def pack(value: Any) -> Any:
        if not isinstance(value, cls):
            raise Mismatch(words, value)
        try:
            return write(value)
        except (ValueError, OverflowError, ArithmeticError) as error:  # an int of more digits than Python writes
            raise Mismatch(words, value, str(error)[:200]) from error

    def unpack(plain: Any) -> Any:
        if type(plain) in taken:
            try:
                return read(plain)
            except (ValueError, TypeError, OverflowError, ArithmeticError) as error:
                raise Mismatch(words, plain) from error
        raise Mismatch(words, plain)

    return Plain(annotation, pack, unpack, kinds=taken, owns=(cls,), schema=lambda _: dict(schema))
