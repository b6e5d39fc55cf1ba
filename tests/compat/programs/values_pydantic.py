"""Pydantic models as values."""

import enum
from datetime import datetime, timezone
from typing import Any, Dict, List, Literal, Optional, Union

from pydantic import BaseModel, ConfigDict, Field

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("models")


class Color(enum.Enum):
    RED = "red"


class Inner(BaseModel):
    a: int
    b: Optional[str] = None


class Outer(BaseModel):
    i: int
    f: float = 1.0
    inner: Inner
    many: List[Inner] = []
    table: Dict[str, Inner] = {}
    when: datetime = datetime(2025, 1, 1, tzinfo=timezone.utc)
    color: Color = Color.RED
    either: Union[int, str] = 3
    kind: Literal["a", "b"] = "a"
    by_number: Dict[int, str] = {1: "a"}
    anything: Any = None


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)
    x: int = Field(default=1, ge=0)


class Aliased(BaseModel):
    x: int = Field(alias="ex")


class Child(Inner):
    c: float = 1.0


class Tree(BaseModel):
    v: int
    children: List["Tree"] = []


def echo(kind):
    async def same(x):
        return x

    same.__annotations__ = {"x": kind, "return": kind}
    inner = env.task(same)

    async def through(x):
        return await inner(x)

    through.__annotations__ = {"x": kind, "return": kind}
    return inner, env.task(through)


for label, kind, values in [
    ("inner", Inner, [Inner(a=1), Inner(a=1, b="x"), {"a": 1}, None, Child(a=1)]),
    ("outer", Outer, [Outer(i=1, inner=Inner(a=1)),
                      Outer(i=1, f=2, inner=Inner(a=1), many=[Inner(a=2)], table={"k": Inner(a=3)}, either="x", anything=[1, 2])]),
    ("frozen", Frozen, [Frozen(x=3)]),
    ("aliased", Aliased, [Aliased(ex=3)]),
    ("child", Child, [Child(a=1, c=2.0)]),
    ("list", list[Inner], [[Inner(a=1)]]),
    ("dict", dict[str, Inner], [{"k": Inner(a=1)}]),
    ("optional", Optional[Inner], [None, Inner(a=1)]),
    ("union", Union[Inner, Frozen], [Inner(a=1), Frozen(x=2)]),
    ("tree", Tree, [Tree(v=1, children=[Tree(v=2)])]),
]:
    try:
        inner, outer = echo(kind)
    except Exception as raised:
        show(f"{label} declared", raised)
        continue
    for number, value in enumerate(values):
        attempt(f"{label} {number}", lambda: flyte.run(inner, x=value).outputs()[0])
        attempt("  through", lambda: flyte.run(outer, value).outputs()[0])
