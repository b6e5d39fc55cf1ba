"""Codecs of numbers, text, time, enums and literals: one primitive each (wire-protocol section 7)."""

import datetime
import enum
import struct
import typing
from typing import Any

from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.core.types_pb2 import EnumType, LiteralType, SimpleType

from flyte.types import _framing as framing
from flyte.types._codec import Codec
from flyte.types._mismatch import Mismatch

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_EPOCH_ORDINAL = datetime.date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_double = struct.Struct("<d").pack


class SimpleCodec(Codec[Any]):
    """A codec whose LiteralType is one of the simple ones."""

    canonical = True
    simple: SimpleType

    def take_wired(self, value: Any) -> tuple[Any, int, bytes]:
        taken, data = self.take(value)
        return taken, len(data), data

    def build_type(self) -> LiteralType:
        return LiteralType(simple=self.simple)


class IntCodec(SimpleCodec):
    """``int``: a 64-bit integer primitive. A bool is not an int; subclasses of int come back as int."""

    simple = SimpleType.INTEGER

    def accepts_class(self, cls: type) -> bool:
        return cls is int

    def wire(self, value: Any) -> bytes:
        if type(value) is int:
            data = _SMALL.get(value)
            return data if data is not None else _integer(value)
        if isinstance(value, int) and type(value) is not bool:
            return _integer(int(value))
        raise Mismatch("int", value)

    def read(self, literal: Literal) -> int:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "integer":
            return primitive.integer
        return typing.cast(int, self.unexpected(literal))

    def take(self, value: Any) -> tuple[int, bytes]:
        data = self.wire(value)
        return (value if type(value) is int else int(value)), data

    def transfer(self, value: Any) -> tuple[int, bytes]:
        if type(value) is int:
            data = _SMALL.get(value)
            if data is not None:
                return value, data
        return super().transfer(value)


def _integer(value: int) -> bytes:
    if not _INT_MIN <= value <= _INT_MAX:
        raise Mismatch("an int of 64 bits", value, "larger ones cannot travel as int; use str, bytes or float")
    return framing.primitive(b"\x08" + framing.varint(value))


# Counters, sizes and indexes, most of the ints that travel: what `_integer` gives for them, made ten times as fast.
_ONE_BYTE, _TWO_BYTES = b"\x0a\x04\x0a\x02\x08", b"\x0a\x05\x0a\x03\x08"
_SMALL = {n: _ONE_BYTE + bytes((n,)) for n in range(128)}
_SMALL.update({n: _TWO_BYTES + bytes((n & 127 | 128, n >> 7)) for n in range(128, 1025)})


class FloatCodec(SimpleCodec):
    """``float``: a double primitive. An int is refused when writing, and read when another SDK wrote one."""

    simple = SimpleType.FLOAT

    def accepts_class(self, cls: type) -> bool:
        return cls is float

    def wire(self, value: Any) -> bytes:
        if type(value) is float or isinstance(value, float):
            return b"\x0a\x0b\x0a\x09\x11" + _double(value)
        why = "write float(x) if the number is meant to be one" if isinstance(value, int) else ""
        raise Mismatch("float", value, why)

    def read(self, literal: Literal) -> float:
        primitive = literal.scalar.primitive
        which = primitive.WhichOneof("value")
        if which == "float_value":
            return primitive.float_value
        if which == "integer":
            return float(primitive.integer)
        return typing.cast(float, self.unexpected(literal))

    def take(self, value: Any) -> tuple[float, bytes]:
        data = self.wire(value)
        return (value if type(value) is float else float(value)), data


class BoolCodec(SimpleCodec):
    """``bool``: a boolean primitive."""

    simple = SimpleType.BOOLEAN

    def accepts_class(self, cls: type) -> bool:
        return cls is bool

    def wire(self, value: Any) -> bytes:
        if value is True:
            return b"\x0a\x04\x0a\x02\x20\x01"
        if value is False:
            return b"\x0a\x04\x0a\x02\x20\x00"
        raise Mismatch("bool", value)

    def read(self, literal: Literal) -> bool:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "boolean":
            return primitive.boolean
        return typing.cast(bool, self.unexpected(literal))

    def take(self, value: Any) -> tuple[bool, bytes]:
        return value, self.wire(value)


class StrCodec(SimpleCodec):
    """``str``: a string primitive. Subclasses of str come back as str."""

    simple = SimpleType.STRING

    def accepts_class(self, cls: type) -> bool:
        return cls is str

    def wire(self, value: Any) -> bytes:
        if type(value) is str or isinstance(value, str):
            return _text(value)
        raise Mismatch("str", value)

    def read(self, literal: Literal) -> str:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "string_value":
            return primitive.string_value
        return typing.cast(str, self.unexpected(literal))

    def take(self, value: Any) -> tuple[str, bytes]:
        data = self.wire(value)
        return (value if type(value) is str else str.__str__(value)), data


def _text(value: str) -> bytes:
    try:
        return framing.primitive(framing.frame(b"\x1a", str.encode(value)))
    except UnicodeEncodeError as error:
        raise Mismatch("text that UTF-8 can encode", value, "it holds a lone surrogate") from error


class NoneCodec(SimpleCodec):
    """``None``: a Void."""

    simple = SimpleType.NONE

    def accepts_class(self, cls: type) -> bool:
        return cls is type(None)

    def wire(self, value: Any) -> bytes:
        if value is None:
            return framing.NONE
        raise Mismatch("None", value)

    def read(self, literal: Literal) -> None:
        if not literal.scalar.HasField("none_type"):
            self.unexpected(literal)

    def take(self, value: Any) -> tuple[None, bytes]:
        return None, self.wire(value)


class DatetimeCodec(SimpleCodec):
    """``datetime``: a Timestamp. A naive one is taken as UTC; it comes back aware, in UTC."""

    simple = SimpleType.DATETIME

    def accepts_class(self, cls: type) -> bool:
        return cls is datetime.datetime

    def wire(self, value: Any) -> bytes:
        if not isinstance(value, datetime.datetime):
            raise Mismatch("datetime", value)
        return _timestamp(_in_utc(value))

    def read(self, literal: Literal) -> datetime.datetime:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "datetime":
            return _read_timestamp(primitive.datetime)
        return typing.cast(datetime.datetime, self.unexpected(literal))

    def take(self, value: Any) -> tuple[datetime.datetime, bytes]:
        data = self.wire(value)
        utc = _in_utc(value)
        if type(utc) is not datetime.datetime or utc.fold:
            utc = datetime.datetime.combine(utc.date(), utc.time().replace(fold=0), datetime.UTC)
        return utc, data


def _in_utc(value: datetime.datetime) -> datetime.datetime:
    if value.tzinfo is datetime.UTC:
        return value
    if value.utcoffset() is None:
        return value.replace(tzinfo=datetime.UTC)
    try:
        return value.astimezone(datetime.UTC)
    except OverflowError as error:
        raise Mismatch("a datetime of the years 1 to 9999 in UTC", value) from error


def _timestamp(utc: datetime.datetime) -> bytes:
    since = utc - _EPOCH
    body = framing.seconds_and_nanos(since.days * _DAY_S + since.seconds, since.microseconds * 1000)
    return framing.primitive(framing.frame(b"\x2a", body))


def _read_timestamp(stamp: Any) -> datetime.datetime:
    try:
        return _EPOCH + datetime.timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    except OverflowError as error:
        raise Mismatch("a datetime of the years 1 to 9999", got=f"{stamp.seconds} s since 1970") from error


class DateCodec(SimpleCodec):
    """``date``: a Timestamp at midnight UTC. A datetime is refused, because its time of day would be lost."""

    simple = SimpleType.DATETIME

    def accepts_class(self, cls: type) -> bool:
        return cls is datetime.date

    def wire(self, value: Any) -> bytes:
        if isinstance(value, datetime.datetime):
            raise Mismatch("date", value, "its time of day would be lost; pass value.date()")
        if not isinstance(value, datetime.date):
            raise Mismatch("date", value)
        seconds = (value.toordinal() - _EPOCH_ORDINAL) * _DAY_S
        return framing.primitive(framing.frame(b"\x2a", framing.seconds_and_nanos(seconds, 0)))

    def read(self, literal: Literal) -> datetime.date:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "datetime":
            return _read_timestamp(primitive.datetime).date()
        return typing.cast(datetime.date, self.unexpected(literal))

    def take(self, value: Any) -> tuple[datetime.date, bytes]:
        data = self.wire(value)
        same = type(value) is datetime.date
        return (value if same else datetime.date(value.year, value.month, value.day)), data


class TimedeltaCodec(SimpleCodec):
    """``timedelta``: a Duration."""

    simple = SimpleType.DURATION

    def accepts_class(self, cls: type) -> bool:
        return cls is datetime.timedelta

    def wire(self, value: Any) -> bytes:
        if not isinstance(value, datetime.timedelta):
            raise Mismatch("timedelta", value)
        seconds, nanos = value.days * _DAY_S + value.seconds, value.microseconds * 1000
        if seconds < 0 and nanos:  # both parts of a Duration have the same sign
            seconds, nanos = seconds + 1, nanos - 1_000_000_000
        return framing.primitive(framing.frame(b"\x32", framing.seconds_and_nanos(seconds, nanos)))

    def read(self, literal: Literal) -> datetime.timedelta:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "duration":
            duration = primitive.duration
            try:
                # Division of integers, because nanos // 1000 rounds a negative one away from zero.
                micros = int(duration.nanos / 1000)
                return datetime.timedelta(seconds=duration.seconds, microseconds=micros)
            except OverflowError as error:
                raise Mismatch("a timedelta", got=f"{duration.seconds} s, which is too long") from error
        return typing.cast(datetime.timedelta, self.unexpected(literal))

    def take(self, value: Any) -> tuple[datetime.timedelta, bytes]:
        data = self.wire(value)
        if type(value) is datetime.timedelta:
            return value, data
        return datetime.timedelta(value.days, value.seconds, value.microseconds), data


class EnumCodec(Codec[Any]):
    """An Enum class: the member's name. A string that is a member's name is accepted in its place."""

    def __init__(self, annotation: Any, cls: type[enum.Enum]) -> None:
        super().__init__(annotation, "DefaultEnumTransformer")
        self.cls = cls
        self.members = dict(cls.__members__)
        self.wires = {name: _text(name) for name in self.members}

    def build_type(self) -> LiteralType:
        return LiteralType(enum_type=EnumType(values=[member.name for member in self.cls]))

    def accepts_class(self, cls: type) -> bool:
        return cls is self.cls

    def wire(self, value: Any) -> bytes:
        if isinstance(value, self.cls):
            name = value.name
            if name in self.wires:
                return self.wires[name]
            if isinstance(value, enum.Flag) and self.read_name(str(name)) is value:
                return _text(str(name))
            raise Mismatch(self.describe(), value, "it is not a named member")
        if type(value) is str and value in self.members:
            return self.wires[value]
        listed = ", ".join(list(self.members)[:8])
        raise Mismatch(self.describe(), value, f"the members are {listed}" if self.members else "it has no members")

    def read(self, literal: Literal) -> Any:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "string_value":
            return self.read_name(primitive.string_value)
        return self.unexpected(literal)

    def read_name(self, name: str) -> Any:
        """The member of a name, or of the names of several flags joined by ``|``."""
        member = self.members.get(name)
        if member is not None:
            return member
        if issubclass(self.cls, enum.Flag):
            combined: Any = self.cls(0)
            parts = [] if name == "None" else name.split("|")
            if all(part in self.members for part in parts):
                for part in parts:
                    combined |= self.members[part]
                return combined
        raise Mismatch(self.describe(), name, f"the members are {', '.join(list(self.members)[:8])}")

    def take(self, value: Any) -> tuple[Any, bytes]:
        data = self.wire(value)
        return (self.members[value] if type(value) is str and not isinstance(value, self.cls) else value), data


class ChoiceCodec(Codec[str]):
    """``Literal`` of strings: an enum of the strings themselves."""

    def __init__(self, annotation: Any, choices: tuple[str, ...]) -> None:
        super().__init__(annotation, "DefaultEnumTransformer")
        self.choices = choices
        self.wires = {choice: _text(choice) for choice in choices}

    def build_type(self) -> LiteralType:
        return LiteralType(enum_type=EnumType(values=self.choices))

    def accepts_class(self, cls: type) -> bool:
        return cls is str

    def wire(self, value: Any) -> bytes:
        if type(value) is str:
            data = self.wires.get(value)
            if data is not None:
                return data
        if isinstance(value, str) and str.__str__(value) in self.wires:
            return self.wires[str.__str__(value)]
        raise Mismatch(self.describe(), value)

    def read(self, literal: Literal) -> str:
        primitive = literal.scalar.primitive
        if primitive.WhichOneof("value") == "string_value":
            if primitive.string_value in self.wires:
                return primitive.string_value
            raise Mismatch(self.describe(), primitive.string_value)
        return self.unexpected(literal)

    def take(self, value: Any) -> tuple[str, bytes]:
        data = self.wire(value)
        return (value if type(value) is str else str.__str__(value)), data


SCALARS: dict[str, type[SimpleCodec]] = {
    "int": IntCodec,
    "float": FloatCodec,
    "bool": BoolCodec,
    "str": StrCodec,
    "none": NoneCodec,
    "datetime": DatetimeCodec,
    "date": DateCodec,
    "timedelta": TimedeltaCodec,
}
"""Kind -> codec; the kind is also the transformer's name on the wire."""
