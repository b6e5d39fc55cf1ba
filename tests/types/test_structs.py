"""Dataclasses, models, tuples and typed dicts: defaults, recursion, generics, and what is refused."""

import dataclasses
import datetime
import enum
import typing
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, NamedTuple, Optional, TypedDict, TypeVar

import msgpack
import pydantic
import pytest
from flyteidl2.core import literals_pb2 as pb
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

from flyte.errors import TypeTransformerFailedError
from flyte.types._engine import codec_for
from flyte.types._equality import same
from flyte.types._hashing import canonical_bytes

T = TypeVar("T")


class Color(enum.Enum):
    RED = "r"
    GREEN = "g"


@dataclass
class Node:
    value: int
    next: Optional["Node"] = None


@dataclass
class Tree:
    name: str
    children: list["Tree"] = field(default_factory=list)
    by_name: dict[str, "Tree"] = field(default_factory=dict)


@dataclass
class Box(Generic[T]):
    item: T
    items: list[T]


@dataclass
class IntBox(Box[int]):
    extra: str = ""


@dataclass
class Counted:
    a: int
    doubled: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.doubled = self.a * 2


@dataclass
class Picky:
    a: int

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("a must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strict:
    a: int
    b: str = "x"


@dataclass
class Free:
    anything: Any
    bare: dict
    items: list


class Point(NamedTuple):
    x: float
    y: float = 1.0


class Movie(TypedDict):
    title: str
    year: typing.NotRequired[int]


class Inner(pydantic.BaseModel):
    color: Color
    at: datetime.datetime | None = None


class Outer(pydantic.BaseModel):
    inner: Inner
    by_color: dict[Color, list[Inner]] = {}
    pairs: list[tuple[int, Color]] = []
    raw: bytes = b""
    renamed: int = pydantic.Field(alias="theName", default=1)


class Recursive(pydantic.BaseModel):
    color: Color
    children: list["Recursive"] = []


def check(annotation: Any, value: Any) -> Any:
    codec = codec_for(annotation)
    literal = codec.encode(value)
    back = codec.decode(literal)
    assert same(back, value), (back, value)
    received, data = codec.transfer(value)
    assert same(received, value)
    assert data == canonical_bytes(literal)
    return literal


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Node, Node(1, Node(2, Node(3)))),
        (Tree, Tree("a", [Tree("b")], {"c": Tree("c", [Tree("d")])})),
        (Box[int], Box(1, [2])),
        (Box[Box[str]], Box(Box("a", []), [Box("b", ["c"])])),
        (IntBox, IntBox(1, [2], "x")),
        (Counted, Counted(3)),
        (Strict, Strict(a=1)),
        (Free, Free((1, {2.5}, datetime.date(2020, 1, 1)), {1: "a", "$variant": 2}, [b"x", None, {"a": (1,)}])),
        (Free, Free({"$variant": "tuple", "value": []}, {}, [])),
        (Free, Free(complex(1, 2), {(1, 2): 3}, [frozenset({1})])),
        (tuple[int, Point, Movie], (1, Point(1.0, 2.0), {"title": "t"})),
        (Point, Point(1.5)),
        (Movie, {"title": "t", "year": 1}),
        (tuple[bytes, Color, datetime.timedelta], (b"\xff\x00", Color.RED, datetime.timedelta(microseconds=-1))),
        (Inner, Inner(color=Color.RED)),
        (Outer, Outer(inner=Inner(color=Color.RED), by_color={Color.GREEN: [Inner(color=Color.RED)]}, theName=7)),
        (Outer, Outer(inner=Inner(color=Color.RED), pairs=[(1, Color.GREEN)], raw=b"\xff")),
        (Recursive, Recursive(color=Color.RED, children=[Recursive(color=Color.GREEN)])),
        (dict[tuple[int, str], Node], {(1, "a"): Node(1)}),
        (dict[datetime.date, int], {datetime.date(2020, 1, 1): 1}),
        (dict[int, dict[int, Inner]], {1: {2: Inner(color=Color.RED)}}),
    ],
)
def test_round_trip(annotation, value):
    check(annotation, value)


def test_a_mutable_field_is_not_shared():
    sent = Tree("a", [Tree("b")])
    received, _ = codec_for(Tree).transfer(sent)
    received.children[0].name = "changed"
    received.children.append(Tree("c"))
    assert sent == Tree("a", [Tree("b")])


def test_the_payload_is_in_the_order_of_the_fields_and_the_hash_is_not():
    literal = codec_for(Tree).encode(Tree("n"))
    assert list(msgpack.unpackb(literal.scalar.binary.value)) == ["name", "children", "by_name"]
    data = pb.Literal.FromString(codec_for(Tree).transfer(Tree("n"))[1])
    assert list(msgpack.unpackb(data.scalar.binary.value)) == ["by_name", "children", "name"]


def test_defaults_fill_what_is_missing():
    literal = pb.Literal()
    literal.scalar.binary.value = msgpack.packb({"name": "n"})
    literal.scalar.binary.tag = "msgpack"
    assert codec_for(Tree).decode(literal) == Tree("n")
    literal.scalar.binary.value = msgpack.packb({"children": []})
    with pytest.raises(TypeTransformerFailedError, match="field 'name' is missing"):
        codec_for(Tree).decode(literal)


def test_a_float_field_takes_an_int_and_gives_a_float():
    @dataclass
    class Measure:
        x: float

    codec = codec_for(Measure)
    assert same(codec.decode(codec.encode(Measure(1))), Measure(1.0))
    assert same(codec.transfer(Measure(1))[0], Measure(1.0))
    with pytest.raises(TypeTransformerFailedError, match="at x: expected float, got bool True"):
        codec.encode(Measure(True))


def test_what_the_console_sends_is_read():
    struct = Struct()
    struct.update({"name": "n", "children": [{"name": "c"}]})
    literal = pb.Literal(scalar=pb.Scalar(generic=struct))
    assert codec_for(Tree).decode(literal) == Tree("n", [Tree("c")])
    numbers = Struct()
    numbers.update({"value": 3})
    node = codec_for(Node).decode(pb.Literal(scalar=pb.Scalar(generic=numbers)))
    assert same(node, Node(3))


def test_protobuf_messages():
    struct = Struct()
    struct.update({"a": 1, "b": [True, None]})
    literal = codec_for(Struct).encode(struct)
    assert codec_for(Struct).decode(literal) == struct
    with pytest.raises(TypeError, match=r"Duration.*JSON form is not an object"):
        codec_for(Duration)
    with pytest.raises(TypeTransformerFailedError, match="expected Struct"):
        codec_for(Struct).encode(Duration())


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (Node, Node("x"), "at value: expected int, got str 'x'"),
        (Node, Node(1, Node(2, Node("x"))), "at next.next.value: expected int"),
        (Tree, Tree("a", [Tree("b"), Tree(3)]), r"at children\[1\].name: expected str, got int 3"),
        (Tree, Tree("a", by_name={"k": Tree(1)}), r"at by_name\['k'\].name: expected str"),
        (Node, {"value": 1}, "expected Node, got dict"),
        (Box[int], IntBox(1, [], ""), "IntBox, or with a union of both"),
        (tuple[int, str], (1, 2), r"at \[1\]: expected str, got int 2"),
        (tuple[int, str], (1,), "it has 1 elements, not 2"),
        (tuple[int, str], [1, "a"], "got list"),
        (Point, Point("x"), "at x: expected float"),
        (Movie, {"year": 1}, "key 'title' is missing"),
        (Movie, {"title": "t", "other": 1}, "it has no key 'other'"),
        (Inner, Outer(inner=Inner(color=Color.RED)), "expected Inner"),
        (Free, Free(object(), {}, []), "at anything: expected a value of a built-in type inside Any"),
        (Node, Node(2**70), "64 bits"),
    ],
)
def test_errors_say_where(annotation, value, message):
    codec = codec_for(annotation)
    for convert in (codec.encode, codec.transfer):
        with pytest.raises(TypeTransformerFailedError, match=message):
            convert(value)


def test_a_constructor_that_refuses_is_reported():
    literal = codec_for(Node).encode(Node(-1))
    literal.scalar.binary.value = msgpack.packb({"a": -1})
    with pytest.raises(TypeTransformerFailedError, match=r"Picky.*ValueError: a must not be negative"):
        codec_for(Picky).decode(literal)


def test_a_model_that_does_not_validate_is_reported():
    literal = codec_for(Node).encode(Node(1))
    with pytest.raises(TypeTransformerFailedError, match=r"expected Inner.*color: Field required"):
        codec_for(Inner).decode(literal)


@dataclass
class Opaque:
    f: Callable[[int], int]


@dataclass
class NeedsMore:
    a: int
    more: InitVar[int]


@dataclass
class Unresolved:
    a: "Nowhere"  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (Opaque, r"field 'f' of Opaque: .*Callable\[\[int\], int\] cannot travel inside a dataclass"),
        (NeedsMore, "InitVar 'more' has no default"),
        (Unresolved, "names 'Nowhere', which does not exist"),
        ("Node", "unresolved forward reference"),
        (list["Node"], "unresolved forward reference"),  # type: ignore[type-arg]
        (3, "3 is not a type"),
    ],
)
def test_an_annotation_that_cannot_travel_is_refused_when_it_is_compiled(annotation, message):
    for _ in range(2):  # a failed compilation leaves nothing behind
        with pytest.raises(TypeError, match=message):
            codec_for(annotation)


def test_a_recursive_schema_refers_to_itself():
    metadata = codec_for(Node).literal_type.metadata
    assert metadata["$ref"] == "#/$defs/Node"
    assert codec_for(tuple[int, Node]).literal_type.metadata["title"] == "TupleWrapper_tuple"


def test_constraints_are_written_into_the_type():
    bounded = typing.Annotated[int, pydantic.Field(ge=0, le=10)]
    literal_type = codec_for(bounded).literal_type
    assert dict(literal_type.metadata.items()) == {"minimum": 0.0, "maximum": 10.0}
    assert not codec_for(int).literal_type.HasField("metadata")
    assert codec_for(bounded).decode(codec_for(bounded).encode(3)) == 3


def test_a_class_made_from_fields():
    made = dataclasses.make_dataclass("Made", [("a", int), ("b", list[int], field(default_factory=list))])
    check(made, made(1, [2]))
