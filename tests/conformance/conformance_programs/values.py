"""One program for each kind of value: it goes into a task, through a step, and comes back."""

import enum
import pathlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, NamedTuple
from uuid import UUID

import pydantic

import flyte

from .program import Program

env = flyte.TaskEnvironment("values")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "y"
    NO = "n"


@dataclass
class Point:
    x: int
    y: float = 0.5
    name: str = "origin"


@dataclass(frozen=True)
class Line:
    ends: tuple[Point, Point]
    tags: dict[str, list[int]] = field(default_factory=dict)
    colour: Colour | None = None


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.5
    tags: list[str] = []


class Basket(pydantic.BaseModel):
    items: list[Item]
    by_name: dict[str, Item] = {}
    when: datetime | None = None


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Plain:
    """No kind of value that is known: it travels pickled."""

    def __init__(self, x: int) -> None:
        self.x = x

    def __repr__(self) -> str:
        return f"Plain({self.x})"


WHEN = datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=UTC)
EAST = datetime(2026, 7, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
BASKET = Basket(items=[Item(name="tea"), Item(name="milk", price=0.0, tags=["cold"])], when=WHEN)

KINDS: dict[str, tuple[Any, Any]] = {
    "int": (int, 42),
    "int_large": (int, 2**53 + 1),
    "int_least": (int, -(2**63)),
    "float": (float, 0.1),
    "float_whole": (float, 3.0),
    "float_int": (float, 3),
    "float_minus_zero": (float, -0.0),
    "float_nan": (float, float("nan")),
    "float_inf": (float, float("-inf")),
    "bool": (bool, False),
    "str": (str, "grüße 👋 \x00 \n"),
    "str_empty": (str, ""),
    "str_big": (str, "x" * 300_000),
    "bytes": (bytes, b"\x00\xff"),
    "none_or_int": (int | None, None),
    "int_or_none": (int | None, 7),
    "union": (int | str, "7"),
    "union_wide": (int | float | bool | str, True),
    "union_of_classes": (Point | Line, Point(1)),
    "union_of_lists": (list[int] | dict[str, int], {"a": 1}),
    "datetime": (datetime, WHEN),
    "datetime_east": (datetime, EAST),
    "timedelta": (timedelta, timedelta(days=-1, microseconds=1)),
    "date": (date, date(2024, 2, 29)),
    "time": (time, time(1, 2, 3, 4)),
    "decimal": (Decimal, Decimal("1.10")),
    "uuid": (UUID, UUID(int=7)),
    "path": (pathlib.Path, pathlib.Path("a/b")),
    "complex": (complex, 1 - 2j),
    "list_int": (list[int], [3, 1, 2]),
    "list_empty": (list[str], []),
    "list_nested": (list[list[float]], [[1.0], [], [2.5, 3.0]]),
    "list_optional": (list[int | None], [1, None]),
    "list_big": (list[int], list(range(20_000))),
    "dict": (dict[str, int], {"b": 1, "a": 2}),
    "dict_int_keys": (dict[int, str], {1: "a", 2: "b"}),
    "dict_nested": (dict[str, dict[str, list[bool]]], {"a": {"b": [True]}}),
    "dict_any": (dict[str, Any], {"a": 1, "b": [1.5, None], "c": {"d": "e"}}),
    "dict_bare": (dict, {"k": [1, 2]}),
    "list_bare": (list, [1, "a"]),
    "tuple": (tuple[int, str, float], (1, "a", 2.0)),
    "tuple_of_any_length": (list[tuple[int, ...]], [(1, 2, 3), ()]),
    "set": (set[int], {3, 1, 2}),
    "frozenset": (frozenset[str], frozenset({"a", "b"})),
    "named_tuple": (Pair, Pair(1)),
    "enum": (Colour, Colour.BLUE),
    "int_enum": (Level, Level.HIGH),
    "str_enum": (Word, Word.NO),
    "list_enum": (list[Colour], [Colour.RED, Colour.BLUE]),
    "literal": (Literal["a", "b"], "b"),
    "dataclass": (Point, Point(1, 2.0)),
    "dataclass_nested": (Line, Line((Point(1), Point(2)), {"t": [1]}, Colour.RED)),
    "dataclass_list": (list[Point], [Point(1), Point(2, name="p")]),
    "dataclass_dict": (dict[str, Point], {"a": Point(1)}),
    "pydantic": (Item, Item(name="tea")),
    "pydantic_nested": (Basket, BASKET),
    "pydantic_list": (list[Item], BASKET.items),
    "pickled": (Plain, Plain(3)),
    "pickled_list": (list[Plain], [Plain(1), Plain(2)]),
    "any": (Any, {"a": (1, 2)}),
}


def make(name: str, kind: Any) -> Any:
    """A task that gives back what it was given, after a step that did the same."""

    async def step(x: Any) -> Any:
        return x

    async def same(x: Any) -> Any:
        return await traced(x)

    for function, called in ((step, f"keep_{name}"), (same, name)):
        named: Callable[..., Any] = function
        named.__name__ = named.__qualname__ = called
        named.__annotations__ = {"x": kind, "return": kind}
    traced = flyte.trace(step)
    return env.task(same)


@env.task
async def two(x: int, y: str) -> tuple[int, str]:
    return x + 1, y + "!"


@env.task
async def nothing() -> None:
    return None


@env.task
async def defaults(x: int = 3, y: str | None = None, p: Point = Point(9), items: list[int] | None = None) -> str:
    return f"{x} {y} {p} {items}"


@env.task
async def keywords(x: int, *, y: int = 2) -> int:
    return x - y


PROGRAMS = {
    "two_results": Program(task=two, args={"x": 1, "y": "a"}),
    "nothing": Program(task=nothing),
    "defaults": Program(task=defaults),
    "defaults_in_part": Program(task=defaults, args={"y": "given", "items": [1]}),
    "keywords": Program(task=keywords, args={"x": 5}),
}
for kind_name, (annotation, value) in KINDS.items():
    globals()[kind_name] = make(kind_name, annotation)
    PROGRAMS[f"value_{kind_name}"] = Program(task=globals()[kind_name], args={"x": value})
