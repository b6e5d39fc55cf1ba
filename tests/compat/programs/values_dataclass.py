"""Dataclasses as values."""

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any, Dict, List, Literal, Optional, Tuple, Union

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("data_classes")


class Color(enum.Enum):
    RED = "red"


@dataclass
class Inner:
    a: int
    b: Optional[str] = None


@dataclass
class Outer:
    i: int
    f: float
    s: str
    b: bool
    inner: Inner
    many: List[Inner]
    table: Dict[str, int]
    maybe: Optional[Inner] = None
    when: datetime = datetime(2025, 1, 1, tzinfo=timezone.utc)
    day: date = date(2025, 1, 2)
    span: timedelta = timedelta(seconds=5)
    color: Color = Color.RED
    pair: Tuple[int, str] = (1, "x")
    either: Union[int, str] = 3
    kind: Literal["a", "b"] = "a"
    raw: bytes = b"\x00\xff"
    by_number: Dict[int, str] = field(default_factory=lambda: {1: "a"})


@dataclass(frozen=True)
class Frozen:
    x: int
    y: float = 2.0


@dataclass
class Child(Inner):
    c: float = 1.0


@dataclass
class Loose:
    x: Any
    rest: dict = field(default_factory=dict)
    items: list = field(default_factory=list)


@dataclass
class Tree:
    value: int
    children: List["Tree"] = field(default_factory=list)


@dataclass
class Checked:
    x: int

    def __post_init__(self):
        self.twice = self.x * 2


@dataclass
class Sets:
    s: set[int]
    t: tuple[int, ...] = (1, 2)


def echo(kind):
    async def same(x):
        return x

    same.__annotations__ = {"x": kind, "return": kind}
    inner = env.task(same)

    async def through(x):
        return await inner(x)

    through.__annotations__ = {"x": kind, "return": kind}
    return inner, env.task(through)


full = Outer(1, 2.0, "s", True, Inner(1), [Inner(2, "x"), Inner(3)], {"k": 1})
for label, kind, values in [
    ("inner", Inner, [Inner(1), Inner(1, "b"), {"a": 1}, Inner("x"), None, Child(1)]),
    ("outer", Outer, [full, Outer(1, 2, "s", False, Inner(1), [], {}, maybe=Inner(5), either="x")]),
    ("frozen", Frozen, [Frozen(1)]),
    ("child", Child, [Child(1, "b", 2.5)]),
    ("list", list[Inner], [[Inner(1), Inner(2, "z")]]),
    ("dict", dict[str, Inner], [{"a": Inner(1)}]),
    ("optional", Optional[Inner], [None, Inner(1)]),
    ("union", Union[Inner, Frozen], [Inner(1), Frozen(1)]),
    ("union with int", Union[int, Inner], [3, Inner(1)]),
    ("loose", Loose, [Loose(1), Loose([1, "x"], {"a": 1}, [1, 2.5])]),
    ("tree", Tree, [Tree(1, [Tree(2), Tree(3, [Tree(4)])])]),
    ("checked", Checked, [Checked(4)]),
    ("sets", Sets, [Sets({1, 2})]),
    ("int in float", Frozen, [Frozen(1, 3)]),
]:
    try:
        inner, outer = echo(kind)
    except Exception as raised:
        show(f"{label} declared", raised)
        continue
    for number, value in enumerate(values):
        attempt(f"{label} {number}", lambda: flyte.run(inner, x=value).outputs()[0])
        attempt("  through", lambda: flyte.run(outer, value).outputs()[0])
