"""The annotations and values of the golden files; plain Python, so that any implementation can encode them."""

import collections
import datetime
import decimal
import enum
import pathlib
import typing
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any, Dict, Generic, List, Literal, NamedTuple, Optional, Tuple, TypedDict, TypeVar, Union

import pydantic
from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Struct

T = TypeVar("T")


class Color(enum.Enum):
    RED = "red-value"
    GREEN = "green-value"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mood(str, enum.Enum):
    HAPPY = "h"
    SAD = "s"


@dataclass
class Point:
    x: float
    y: float
    label: str


@dataclass
class Record:
    """A record of a benchmark."""

    id: int
    name: str
    score: float
    active: bool
    tags: List[str]
    attrs: Dict[str, float]
    points: List[Point]
    parent: Optional[str] = None
    notes: Dict[str, List[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Frozen:
    a: int
    b: str = "x"


@dataclass(slots=True)
class Slotted:
    a: int
    b: float = 1.5


@dataclass
class Empty:
    pass


@dataclass
class Leaves:
    when: datetime.datetime
    day: datetime.date
    long: datetime.timedelta
    raw: bytes
    color: Color
    level: Level
    maybe: int | None
    either: Union[int, str, float]
    pair: Tuple[int, str]
    many: Tuple[int, ...]
    uniq: typing.Set[int]
    by_int: Dict[int, str]
    lit: Literal["a", "b"]


@dataclass
class Leaves2:
    clock: datetime.time
    amount: decimal.Decimal
    ident: uuid.UUID
    where: pathlib.PurePosixPath
    fixed: typing.FrozenSet[str]
    bare_list: list
    bare_dict: dict
    lit: Literal[1, 2]


@dataclass
class WithAny:
    a: Any
    b: Dict[str, Any]
    c: List[Any]


@dataclass
class Defaults:
    a: int = 3
    b: str = "x"
    c: float = 2.0
    d: bool = True
    e: Optional[int] = 7
    f: Color = Color.GREEN
    g: List[int] = field(default_factory=lambda: [1, 2])
    h: Point = field(default_factory=lambda: Point(1.0, 2.0, "l"))
    i: Optional[Point] = None


@dataclass
class Box(Generic[T]):
    item: T
    items: List[T]


@dataclass
class Node:
    value: int
    next: Optional["Node"] = None


@dataclass
class Base:
    a: int


@dataclass
class Derived(Base):
    b: str = "derived"


@dataclass
class NoInit:
    a: int
    b: int = field(init=False, default=5)


class PointM(pydantic.BaseModel):
    x: float
    y: float
    label: str


class RecordM(pydantic.BaseModel):
    id: int
    name: str
    score: float
    active: bool
    tags: List[str]
    attrs: Dict[str, float]
    points: List[PointM]
    parent: Optional[str] = None
    notes: Dict[str, List[int]] = {}


class LeavesM(pydantic.BaseModel):
    """Every kind of leaf."""

    when: datetime.datetime
    day: datetime.date
    long: datetime.timedelta
    raw: bytes
    color: Color
    level: Level
    maybe: int | None
    either: Union[int, str, float]
    pair: Tuple[int, str]
    many: Tuple[int, ...]
    uniq: typing.Set[int]
    by_int: Dict[int, str]
    lit: Literal["a", "b"]
    clock: datetime.time
    amount: decimal.Decimal
    ident: uuid.UUID
    bound: int = pydantic.Field(ge=0, le=10, default=4, description="a bounded number")
    alias: int = pydantic.Field(alias="theAlias", default=1)


class BoxM(pydantic.BaseModel, Generic[T]):
    item: T


class NodeM(pydantic.BaseModel):
    value: int
    next: Optional["NodeM"] = None


@pydantic.dataclasses.dataclass
class PydanticPoint:
    x: float
    y: int = 3


@dataclass
class Mixed:
    model: PointM
    point: PydanticPoint


class Coordinates(NamedTuple):
    lat: float
    lon: float
    name: str = "n"


class Movie(TypedDict):
    title: str
    year: int


class Partial(TypedDict, total=False):
    title: str
    year: int


class Opaque:
    """A class that only pickle can carry."""

    def __init__(self, a: int) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Opaque) and other.a == self.a

    def __hash__(self) -> int:
        return self.a


UTC = datetime.UTC
EAST = datetime.timezone(datetime.timedelta(hours=2))
WHEN = datetime.datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
WHEN_US = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, tzinfo=EAST)
NAIVE = datetime.datetime(2020, 1, 2, 3, 4, 5)
RECORD = Record(
    7,
    "n",
    1.0,
    True,
    ["a", "b"],
    {"k": 1.5, "b": 2.0},
    [Point(1.0, -2.0, "p")],
    "parent",
    {"a": [1, 2]},
)
RECORD_M = RecordM(
    id=7,
    name="n",
    score=1.0,
    active=True,
    tags=["a", "b"],
    attrs={"k": 1.5, "b": 2.0},
    points=[PointM(x=1.0, y=-2.0, label="p")],
    parent="parent",
    notes={"a": [1, 2]},
)
_leaves: dict[str, Any] = {
    "when": WHEN,
    "day": datetime.date(2020, 2, 3),
    "long": datetime.timedelta(seconds=90, microseconds=500000),
    "raw": b"raw",
    "color": Color.RED,
    "level": Level.HIGH,
    "maybe": None,
    "either": "s",
    "pair": (1, "a"),
    "many": (1, 2, 3),
    "uniq": {5},
    "by_int": {1: "a"},
    "lit": "a",
}
_clock = datetime.time(1, 2, 3)
_uuid = uuid.UUID("12345678-1234-5678-1234-567812345678")

_struct = Struct()
_struct.update({"a": 1, "b": "x"})

CASES: list[tuple[str, Any, list[Any]]] = [
    ("int", int, [0, 1, -1, 2**63 - 1, -(2**63), 2**63, True]),
    ("float", float, [0.0, 1.0, -1.5, float("inf"), 1e300, 3]),
    ("bool", bool, [True, False, 1]),
    ("str", str, ["", "a", "é", "a\x00b", 3]),
    ("none", type(None), [None, 1]),
    ("bytes", bytes, [b"", b"abc"]),
    ("datetime", datetime.datetime, [WHEN, WHEN_US, NAIVE, datetime.datetime(1960, 1, 1, tzinfo=UTC)]),
    ("date", datetime.date, [datetime.date(2020, 2, 3), datetime.date(1, 1, 1), WHEN]),
    (
        "timedelta",
        datetime.timedelta,
        [datetime.timedelta(seconds=90, microseconds=500000), datetime.timedelta(days=-1, seconds=3, microseconds=1)],
    ),
    ("time", datetime.time, [_clock]),
    ("complex", complex, [1 + 2j]),
    ("color", Color, [Color.RED, Color.GREEN, "RED", "red-value"]),
    ("level", Level, [Level.LOW, Level.HIGH, 1]),
    ("mood", Mood, [Mood.HAPPY, "h", "HAPPY"]),
    ("literal_str", Literal["a", "b"], ["a", "b", "c"]),
    ("literal_int", Literal[1, 2], [1, 2]),
    ("literal_mixed", Literal["a", 1], ["a", 1]),
    ("list_int", List[int], [[], [1, 2], [1.0], (1, 2)]),
    ("list_builtin", list[str], [["a"]]),
    ("list_list", List[List[int]], [[[1], []]]),
    ("list_dataclass", List[Point], [[Point(1.0, 2.0, "a")]]),
    ("list_optional", List[Optional[int]], [[1, None]]),
    ("dict_str_int", Dict[str, int], [{}, {"b": 1, "a": 2}]),
    ("dict_builtin", dict[str, list[int]], [{"a": [1]}]),
    ("dict_int_str", Dict[int, str], [{1: "a", 2: "b"}, {}]),
    ("dict_int_dataclass", Dict[int, Point], [{1: Point(1.0, 2.0, "a")}]),
    ("dict_bare", dict, [{"a": 1, "b": [1, 2.0, "x", None, {"c": True}]}, {1: 2}]),
    ("dict_str_any", Dict[str, Any], [{"a": 1}]),
    ("list_bare", list, [[1, "a"]]),
    ("list_any", List[Any], [[1, "a"]]),
    ("optional_int", Optional[int], [1, None]),
    ("union_pipe", int | str | None, [1, "a", None, 1.5]),
    ("union_float_int", Union[float, int], [1, 1.0, True]),
    ("union_int_bool", Union[int, bool], [1, True]),
    ("union_dataclasses", Union[Point, Frozen], [Point(1.0, 2.0, "a"), Frozen(1)]),
    ("union_list", Union[List[int], Dict[str, int]], [[1], {"a": 1}]),
    ("union_enum", Union[Color, str], [Color.RED, "RED", "x"]),
    ("union_date", Union[datetime.date, datetime.datetime], [datetime.date(2020, 1, 1), WHEN]),
    ("union_model", Union[PointM, None], [PointM(x=1, y=2, label="a"), None]),
    ("union_bytes", Union[bytes, int], [b"a", 1]),
    ("union_opaque", Union[Opaque, int], [1]),
    ("optional_list", Optional[List[int]], [[1], None]),
    ("optional_tuple", Optional[Tuple[int, str]], [(1, "a"), None]),
    ("nested_union", List[Union[int, List[str]]], [[1, ["a"]]]),
    ("point", Point, [Point(1.0, 2.0, "a"), Point(1, 2, "a")]),
    ("record", Record, [RECORD]),
    ("frozen", Frozen, [Frozen(1), Frozen(2, "y")]),
    ("slotted", Slotted, [Slotted(1)]),
    ("empty", Empty, [Empty()]),
    ("leaves", Leaves, [Leaves(**_leaves)]),
    (
        "leaves2",
        Leaves2,
        [
            Leaves2(
                _clock,
                decimal.Decimal("1.50"),
                _uuid,
                pathlib.PurePosixPath("/a/b"),
                frozenset({"a"}),
                [1, "a"],
                {"a": 1},
                2,
            )
        ],
    ),
    ("with_any", WithAny, [WithAny(1, {"a": 1}, [1])]),
    ("defaults", Defaults, [Defaults()]),
    ("box_int", Box[int], [Box(1, [2])]),
    ("box_point", Box[Point], [Box(Point(1.0, 2.0, "a"), [])]),
    ("node", Node, [Node(1, Node(2))]),
    ("derived", Derived, [Derived(1)]),
    ("no_init", NoInit, [NoInit(1)]),
    ("point_m", PointM, [PointM(x=1, y=2, label="a")]),
    ("record_m", RecordM, [RECORD_M]),
    ("leaves_m", LeavesM, [LeavesM(**_leaves, clock=_clock, amount=decimal.Decimal("1.50"), ident=_uuid)]),
    ("box_m", BoxM[int], [BoxM[int](item=1)]),
    ("node_m", NodeM, [NodeM(value=1, next=NodeM(value=2))]),
    ("pydantic_point", PydanticPoint, [PydanticPoint(1.0)]),
    ("mixed", Mixed, [Mixed(PointM(x=1, y=2, label="a"), PydanticPoint(1.0))]),
    ("tuple", Tuple[int, str], [(1, "a")]),
    ("tuple_builtin", tuple[int, float], [(1, 2.0)]),
    ("tuple_one", Tuple[int], [(1,)]),
    ("tuple_nested", Tuple[int, Tuple[str, Point]], [(1, ("a", Point(1.0, 2.0, "a")))]),
    (
        "tuple_leaves",
        Tuple[datetime.datetime, datetime.timedelta, Color, bytes, Optional[int]],
        [(WHEN, datetime.timedelta(seconds=1.5), Color.RED, b"x", None)],
    ),
    ("tuple_many", Tuple[int, ...], [(1, 2)]),
    ("tuple_bare", tuple, [(1, 2)]),
    ("list_tuple", List[Tuple[int, str]], [[(1, "a")]]),
    ("coordinates", Coordinates, [Coordinates(1.0, 2.0), Coordinates(1.0, 2.0, "z")]),
    ("movie", Movie, [{"title": "t", "year": 1}]),
    ("partial", Partial, [{"title": "t"}, {}]),
    ("enum_alias_list", List[Color], [[Color.RED]]),
    ("dict_enum_value", Dict[str, Color], [{"a": Color.RED}]),
    ("dict_date_key", Dict[datetime.date, int], [{}]),
    ("dict_nested", Dict[str, Dict[str, Point]], [{"a": {"b": Point(1.0, 2.0, "a")}}]),
    ("list_datetime", List[datetime.datetime], [[WHEN, WHEN_US]]),
    ("list_model", List[PointM], [[PointM(x=1, y=2, label="a")]]),
    ("optional_record", Optional[Record], [RECORD, None]),
    ("optional_dict", Optional[Dict[str, float]], [{"a": 1.0}, None]),
    ("optional_enum", Optional[Color], [Color.RED, None]),
    ("optional_set", Optional[typing.Set[int]], [None]),
    ("tuple_of_models", Tuple[PointM, Optional[PointM]], [(PointM(x=1, y=2, label="a"), None)]),
    ("tuple_of_dicts", Tuple[Dict[str, int], List[float]], [({"a": 1}, [1.0])]),
    (
        "union_many",
        Union[int, str, float, bool, None, datetime.timedelta],
        [1, "a", 1.0, True, None, datetime.timedelta(1)],
    ),
    ("duration", Duration, [Duration(seconds=3)]),
    ("struct", Struct, [_struct]),
    ("set_int", typing.Set[int], [{1}]),
    ("set_str", set[str], [{"a"}]),
    ("frozenset", frozenset[int], [frozenset({1})]),
    ("any", Any, [1, "a"]),
    ("object", object, []),
    ("opaque", Opaque, []),
    ("decimal", decimal.Decimal, [decimal.Decimal("1.5")]),
    ("uuid", uuid.UUID, [_uuid]),
    ("path", pathlib.PurePosixPath, [pathlib.PurePosixPath("/a")]),
    ("defaultdict", collections.defaultdict, []),
    ("annotated_int", Annotated[int, "doc"], [1]),
    ("annotated_field", Annotated[int, pydantic.Field(ge=0, le=10, description="bounded")], [1]),
    ("annotated_str_field", Annotated[str, pydantic.Field(min_length=1, max_length=5, pattern="a*")], ["a"]),
    ("annotated_list", List[Annotated[int, pydantic.Field(gt=0)]], [[1]]),
    ("annotated_union", Optional[Annotated[int, pydantic.Field(gt=0)]], [1, None]),
    (
        "annotated_float_multi",
        Annotated[float, pydantic.Field(gt=0, lt=1, multiple_of=0.5, title="t", examples=[0.5])],
        [0.5],
    ),
    ("annotated_default", Annotated[int, pydantic.Field(default=3, alias="al")], [1]),
]
