"""Scalars: bytes equal to the protobuf library's, values by identity, and what is refused."""

import datetime
import enum
import zoneinfo
from typing import Any, Literal

import pytest
from flyteidl2.core import literals_pb2 as pb
from flyteidl2.core.types_pb2 import SimpleType
from hypothesis import given, settings
from hypothesis import strategies as st

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._hashing import canonical_bytes


def literal(**primitive: Any) -> pb.Literal:
    return pb.Literal(scalar=pb.Scalar(primitive=pb.Primitive(**primitive)))


def check(annotation: Any, value: Any, expected: pb.Literal) -> None:
    codec = codec_for(annotation)
    assert codec.wire(value) == expected.SerializeToString(deterministic=True)
    received, data = codec.transfer(value)
    assert data == canonical_bytes(expected)
    assert received == codec.decode(expected)


bounded = settings(max_examples=200, deadline=None)


@bounded
@given(st.integers(-(2**63), 2**63 - 1))
def test_int(value):
    check(int, value, literal(integer=value))


@bounded
@given(st.floats(allow_nan=False))
def test_float(value):
    check(float, value, literal(float_value=value))


@bounded
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_str(value):
    check(str, value, literal(string_value=value))


@bounded
@given(st.booleans())
def test_bool(value):
    check(bool, value, literal(boolean=value))


@bounded
@given(st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 1, 1)))
def test_datetime(value):
    expected = literal()
    expected.scalar.primitive.datetime.FromDatetime(value)
    check(datetime.datetime, value, expected)
    assert codec_for(datetime.datetime).transfer(value)[0] == value.replace(tzinfo=datetime.UTC)


@bounded
@given(st.timedeltas(datetime.timedelta(days=-3_600_000), datetime.timedelta(days=3_600_000)))
def test_timedelta(value):
    expected = literal()
    expected.scalar.primitive.duration.FromTimedelta(value)
    check(datetime.timedelta, value, expected)


@bounded
@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=200))
def test_list_of_int(value):
    members = [literal(integer=v) for v in value]
    expected = pb.Literal(collection=pb.LiteralCollection(literals=members))
    codec = codec_for(list[int])
    assert codec.wire(value) == expected.SerializeToString(deterministic=True)
    assert codec.transfer(value) == (value, canonical_bytes(expected))


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 10**9),
        (float, 1.5),
        (str, "a long text " * 3),
        (datetime.date, datetime.date(2020, 1, 1)),
        (datetime.timedelta, datetime.timedelta(1)),
        (datetime.datetime, datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
        (bytes, b"some bytes"),
    ],
)
def test_what_cannot_change_passes_by_identity(annotation, value):
    assert codec_for(annotation).transfer(value)[0] is value


def test_a_naive_datetime_arrives_in_utc():
    naive = datetime.datetime(2020, 1, 1, 2, 3)
    received, _ = codec_for(datetime.datetime).transfer(naive)
    assert received == datetime.datetime(2020, 1, 1, 2, 3, tzinfo=datetime.UTC)
    assert received.tzinfo is datetime.UTC


def test_a_datetime_of_a_zone_arrives_in_utc():
    there = datetime.datetime(2020, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    received, data = codec_for(datetime.datetime).transfer(there)
    assert received == there and received.hour == 10
    assert data == canonical_bytes(codec_for(datetime.datetime).encode(there))


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (int, True, "expected int, got bool True"),
        (int, 1.0, "expected int, got float 1.0"),
        (int, "1", "expected int, got str '1'"),
        (int, 2**63, "64 bits"),
        (int, None, "expected int, got NoneType None"),
        (float, 1, r"expected float, got int 1: write float\(x\)"),
        (float, True, "expected float, got bool True"),
        (bool, 1, "expected bool, got int 1"),
        (str, b"x", "expected str, got bytes b'x'"),
        (str, "\ud800", "UTF-8"),
        (datetime.date, datetime.datetime(2020, 1, 1), r"pass value.date\(\)"),
        (datetime.datetime, datetime.date(2020, 1, 1), "expected datetime"),
        (datetime.timedelta, 3, "expected timedelta"),
        (type(None), 0, "expected None"),
        (Literal["a", "b"], "c", r"expected Literal\['a', 'b'\], got str 'c'"),
    ],
)
def test_a_value_of_another_type_is_refused(annotation, value, message):
    codec = codec_for(annotation)
    for convert in (codec.encode, codec.transfer):
        with pytest.raises(TypeTransformerFailedError, match=message):
            convert(value)


def test_the_error_is_what_callers_catch():
    for cls in (TypeError, ValueError, AssertionError):
        with pytest.raises(cls):
            codec_for(int).encode("x")


def test_the_repr_in_an_error_is_bounded():
    class Loud:
        def __repr__(self) -> str:
            return "x" * 100_000

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    for value in (Loud(), "y" * 100_000, 10**5000, Broken()):
        with pytest.raises(TypeTransformerFailedError) as caught:
            codec_for(float).encode(value)
        assert len(str(caught.value)) < 400


def test_a_float_reads_an_integer():
    back = codec_for(float).decode(literal(integer=3))
    assert (type(back), back) == (float, 3.0)


@pytest.mark.parametrize("annotation", [int, float, bool, str, datetime.datetime, datetime.timedelta, type(None)])
def test_a_literal_of_another_form_is_refused(annotation):
    for other in (pb.Literal(), pb.Literal(collection=pb.LiteralCollection()), literal()):
        with pytest.raises(TypeTransformerFailedError):
            codec_for(annotation).decode(other)


def test_a_subclass_of_a_scalar_comes_back_as_the_scalar():
    class Level(enum.IntEnum):
        HIGH = 2

    class Word(str):
        pass

    for annotation, value in ((int, Level.HIGH), (str, Word("a"))):
        codec = codec_for(annotation)
        received, data = codec.transfer(value)
        assert type(received) is annotation and received == value
        assert data == canonical_bytes(codec.encode(value))


class Color(enum.Enum):
    RED = "red-value"
    SCARLET = "red-value"  # noqa: PIE796 - an alias is what is tested
    BLUE = "blue-value"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


def test_enum_by_name():
    codec = codec_for(Color)
    assert list(codec.literal_type.enum_type.values) == ["RED", "BLUE"]
    assert codec.encode(Color.SCARLET).scalar.primitive.string_value == "RED"
    assert codec.decode(literal(string_value="SCARLET")) is Color.RED
    assert codec.transfer("BLUE")[0] is Color.BLUE
    for wrong in ("red-value", 1, None):
        with pytest.raises(TypeTransformerFailedError, match="RED"):
            codec.encode(wrong)
    with pytest.raises(TypeTransformerFailedError, match="the members are"):
        codec.decode(literal(string_value="GREEN"))


def test_combined_flags():
    codec = codec_for(Access)
    for value in (Access.READ, Access.READ | Access.WRITE):
        assert codec.decode(codec.encode(value)) is value


def test_choices_of_text_are_an_enum():
    codec = codec_for(Literal["fast", "slow"])
    assert list(codec.literal_type.enum_type.values) == ["fast", "slow"]
    assert codec.name == "DefaultEnumTransformer"


def test_other_choices_keep_their_type():
    codec = codec_for(Literal[1, True, "x", None])
    for value in (1, True, "x", None):
        received = codec.decode(codec.encode(value))
        assert type(received) is type(value) and received == value
    with pytest.raises(TypeTransformerFailedError):
        codec.encode(1.0)


def test_simple_types():
    assert codec_for(int).literal_type.simple == SimpleType.INTEGER
    assert codec_for(int).describe() == "int"
    assert codec_for(None).decode(codec_for(None).encode(None)) is None
