"""Whatever bytes arrive, a decoder gives a value of the declared type or the documented error, and runs no code."""

import dataclasses
import datetime
import decimal
import enum
import fractions
import importlib.metadata
import os
import pathlib
import pickle
import sys
import typing
import uuid
import zoneinfo
from typing import Any

import msgpack
import pydantic
import pytest
from flyteidl2.core.literals_pb2 import (
    Binary,
    Blob,
    BlobMetadata,
    Literal,
    LiteralCollection,
    LiteralMap,
    Scalar,
    Union,
)
from flyteidl2.core.types_pb2 import BlobType, LiteralType, TypeStructure
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for

bounded = settings(
    max_examples=int(os.environ.get("FLYTE_TEST_EXAMPLES", "500")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclasses.dataclass
class Inner:
    x: float
    when: datetime.datetime | None = None


@dataclasses.dataclass
class Outer:
    a: int
    b: str
    inner: Inner
    many: list[Inner]
    by_key: dict[str, int | str]
    color: Color
    free: Any
    raw: bytes
    pair: tuple[int, str]
    either: Inner | str | datetime.date | None
    fraction: fractions.Fraction


class Model(pydantic.BaseModel):
    a: int
    color: Color
    inner: Inner
    many: list[int] = []


class Row(typing.NamedTuple):
    a: int
    b: str


class Movie(typing.TypedDict):
    title: str


OUTER = Outer(
    1,
    "b",
    Inner(1.0, datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
    [Inner(2.0)],
    {"a": 1},
    Color.RED,
    {"x": (1, 2)},
    b"raw",
    (1, "x"),
    datetime.date(2020, 1, 1),
    fractions.Fraction(1, 3),
)
CASES: list[tuple[Any, Any]] = [
    (int, 1),
    (float, 1.5),
    (bool, True),
    (str, "text"),
    (type(None), None),
    (datetime.datetime, datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
    (datetime.date, datetime.date(2020, 1, 1)),
    (datetime.timedelta, datetime.timedelta(seconds=1)),
    (bytes, b"bytes"),
    (bytearray, bytearray(b"bytes")),
    (datetime.time, datetime.time(1, 2)),
    (complex, 1 + 2j),
    (decimal.Decimal, decimal.Decimal("1.5")),
    (fractions.Fraction, fractions.Fraction(1, 3)),
    (uuid.UUID, uuid.UUID(int=1)),
    (pathlib.PurePosixPath, pathlib.PurePosixPath("/a")),
    (Color, Color.RED),
    (typing.Literal["a", "b"], "a"),
    (typing.Literal[1, "b"], 1),
    (list[int], [1, 2]),
    (dict[str, int], {"a": 1}),
    (dict[int, str], {1: "a"}),
    (dict, {"a": [1]}),
    (set[int], {1}),
    (frozenset[str], frozenset({"a"})),
    (set[Color], {Color.RED}),
    (tuple[int, ...], (1, 2)),
    (tuple[int, str], (1, "a")),
    (set[datetime.datetime], {datetime.datetime(2020, 1, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))}),
    (int | None, 1),
    (int | str | list[float] | None, [1.0]),
    (Inner | Outer, OUTER),
    (bytes | int, b"x"),
    (Outer, OUTER),
    (Model, Model(a=1, color=Color.RED, inner=Inner(1.0))),
    (Row, Row(1, "b")),
    (Movie, {"title": "t"}),
    (Struct, Struct()),
    (list[dict[str, Outer | int]], [{"a": 1}]),
]


class Tripwire:
    """Notes what Python's audit hooks report while it is armed."""

    WATCHED = ("import", "exec", "compile", "os.", "subprocess.", "pickle.find_class", "open", "socket.", "ctypes.")

    def __init__(self) -> None:
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        if self.armed and event.startswith(self.WATCHED):
            self.seen.append(f"{event} {args!r:.200}")


TRIPWIRE = Tripwire()
CODECS = [codec_for(annotation) for annotation, _ in CASES]
VALID = [codec.encode(value) for codec, (_, value) in zip(CODECS, CASES, strict=True)]
for codec, literal in zip(CODECS, VALID, strict=True):
    codec.decode(literal)  # everything is imported and compiled before the tripwire is armed


def offer(literal: Literal) -> int:
    """Offer a literal to every decoder; returns how many took it."""
    taken = 0
    TRIPWIRE.seen.clear()
    for codec, (annotation, _) in zip(CODECS, CASES, strict=True):
        TRIPWIRE.armed = True
        try:
            value = codec.decode(literal)
        except TypeTransformerFailedError:
            continue
        finally:
            TRIPWIRE.armed = False
        taken += 1
        try:
            codec.encode(value)  # a value that is not of the declared type would be refused
        except TypeTransformerFailedError as error:
            raise AssertionError(f"{annotation} was decoded to {value!r}, which it does not take: {error}") from error
    # A blob's file is looked for; nothing else may happen.
    assert [seen for seen in TRIPWIRE.seen if not seen.startswith("open ")] == []
    return taken


def binary(payload: bytes, tag: str = "") -> Literal:
    return Literal(scalar=Scalar(binary=Binary(value=payload, tag=tag)))


class Canary:
    """Runs a command when it is unpickled."""

    path = ""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> Any:
        return self.call


def wrapped(payload: bytes, folder: pathlib.Path) -> list[Literal]:
    """A pickle in every place of a literal where one can be."""
    direct = binary(payload)
    path = folder / "blob.pickle"
    path.write_bytes(payload)
    blob = Literal(scalar=Scalar(blob=Blob(metadata=BlobMetadata(type=BlobType(format="PythonPickle")), uri=str(path))))
    tag = LiteralType(structure=TypeStructure(tag="FlytePickle"))
    return [
        direct,
        blob,
        binary(payload, "msgpack"),
        binary(payload, "pickle"),
        binary(msgpack.packb({"a": payload, "$variant": "Opaque", "value": payload}), "msgpack"),
        binary(msgpack.packb({"$variant": "Opaque", "value": payload}), "msgpack"),
        Literal(scalar=Scalar(union=Union(value=direct, type=tag))),
        Literal(scalar=Scalar(union=Union(value=blob, type=tag))),
        Literal(collection=LiteralCollection(literals=[direct])),
        Literal(map=LiteralMap(literals={"a": direct})),
    ]


@pytest.mark.parametrize(
    "call",
    [
        (os.system, "echo"),
        (eval, "1"),
        (exec, "import os"),
        (__import__, "this"),
        (getattr, Color, "mro"),
        (importlib.metadata.version, "x"),
        (open, "canary", "w"),
        (Color.__class__, "RED"),
        (dataclasses.make_dataclass, "A", []),
    ],
    ids=lambda call: getattr(call[0], "__name__", "x"),
)
def test_a_pickle_that_calls_something_is_never_read(call, tmp_path):
    for protocol in (0, 2, 5):
        payload = pickle.dumps(Canary(*call), protocol=protocol)
        for literal in wrapped(payload, tmp_path):
            assert offer(literal) == 0 or literal.scalar.binary.tag == "msgpack"


def test_a_pickle_written_by_hand_is_never_read(tmp_path):
    marker = tmp_path / "ran"
    payloads = [
        b"cos\nsystem\n(S'touch %s'\ntR." % str(marker).encode(),
        b"\x80\x04cbuiltins\ngetattr\n(cos\nsystem\nX\x01\x00\x00\x00atR.",
        b"\x80\x02ccopyreg\n__newobj__\n.",
        b"\x80\x04\x8c\x08builtins\x8c\x12object.__subclasses\x93.",
        b"Pcanary\n.",
        b"\x80\x02\x82\x01.",
    ]
    for payload in payloads:
        for literal in wrapped(payload, tmp_path):
            assert offer(literal) == 0 or literal.scalar.binary.tag == "msgpack"
    assert not marker.exists()


def test_the_tripwire_works():
    TRIPWIRE.seen.clear()
    TRIPWIRE.armed = True
    try:
        pickle.loads(pickle.dumps(Canary(os.getenv, "HOME")))
    finally:
        TRIPWIRE.armed = False
    assert any(seen.startswith("pickle.find_class") for seen in TRIPWIRE.seen)


@bounded
@given(st.binary(max_size=200), st.sampled_from(["", "msgpack", "x"]))
def test_arbitrary_bytes_as_payload(payload, tag):
    offer(binary(payload, tag))


@bounded
@given(st.binary(max_size=200))
def test_arbitrary_bytes_as_literal(data):
    try:
        literal = Literal.FromString(data)
    except DecodeError:
        return
    offer(literal)


@bounded
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_mutated_literals(literal, changes):
    data = bytearray(literal.SerializeToString())
    for position, byte in changes:
        if data:
            data[position % len(data)] = byte
    try:
        mutated = Literal.FromString(bytes(data))
    except DecodeError:
        return
    offer(mutated)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["a", "b", "x", "inner", "$variant", "value", "item_0", "item_1", "title", "many", "color"])
            | st.integers(0, 3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@bounded
@given(plain)
def test_arbitrary_structures(value):
    offer(binary(msgpack.packb(value), "msgpack"))


@bounded
@given(st.sampled_from(VALID), st.sampled_from(VALID))
def test_any_literal_offered_to_any_type(literal, other):
    assert offer(literal) >= 1
    offer(Literal(collection=LiteralCollection(literals=[literal, other])))
    offer(Literal(map=LiteralMap(literals={"a": literal, "b": other})))
    offer(Literal(scalar=Scalar(union=Union(value=literal, type=LiteralType(structure=TypeStructure(tag="int"))))))


def test_bombs_are_refused():
    deep = b"\x91" * 5000 + b"\xc0"
    assert offer(binary(deep, "msgpack")) == 0
    long_int = msgpack.packb({"a": 1, "b": "9" * 10_000})
    offer(binary(long_int, "msgpack"))
    giant = codec_for(fractions.Fraction)
    bomb = b"\x80\x04\x8c\tfractions\x8c\x08Fraction\x93\x8c\x0b1e999999999\x85R."
    with pytest.raises(TypeTransformerFailedError):
        giant.decode(binary(bomb))
    nested = Literal(scalar=Scalar(binary=Binary(value=b"\x91" * 900 + b"\xc0", tag="msgpack")))
    offer(nested)
