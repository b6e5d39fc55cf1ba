"""Scalars in and out, alone and across tasks."""

import datetime
import enum
import pathlib
from typing import Any, Literal, Optional, Union

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("scalars")


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(int, enum.Enum):
    LOW = 1
    HIGH = 2


class Text(str, enum.Enum):
    A = "a"


def echo(kind):
    async def same(x: kind) -> kind:
        return x

    same.__annotations__ = {"x": kind, "return": kind}
    inner = env.task(same)

    async def through(x: kind) -> kind:
        return await inner(x)

    through.__annotations__ = {"x": kind, "return": kind}
    outer = env.task(through)
    return inner, outer


D = datetime.datetime
UTC = datetime.timezone.utc
for label, kind, values in [
    ("int", int, [0, -5, 2**53, 2**62, True, 1.0, "1", 2**70]),
    ("float", float, [0.5, 1, -1e300, float("inf"), True, "1"]),
    ("bool", bool, [True, False, 1, 0, "true"]),
    ("str", str, ["", "x", "ü\u2028\n", "a" * 100, 3]),
    ("bytes", bytes, [b"", b"\x00\xff", bytearray(b"x"), "x"]),
    ("None", type(None), [None]),
    ("datetime", D, [D(2025, 1, 2, 3, 4, 5, 6, tzinfo=UTC), D(2025, 1, 2, 3, 4, 5),
                     D(2025, 6, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=2))), datetime.date(2025, 1, 1)]),
    ("date", datetime.date, [datetime.date(2025, 1, 2), datetime.date(1, 1, 1), D(2025, 1, 1)]),
    ("timedelta", datetime.timedelta, [datetime.timedelta(days=2, seconds=3, microseconds=4), datetime.timedelta(seconds=-1), 5]),
    ("Enum", Color, [Color.RED, "blue", "RED", "green"]),
    ("int Enum", Level, [Level.LOW, 2]),
    ("str Enum", Text, [Text.A, "a"]),
    ("Literal str", Literal["a", "b"], ["a", "b", "c"]),
    ("Literal int", Literal[1, 2], [1, 2, 3]),
    ("Literal mixed", Literal["a", 1], ["a", 1]),
    ("Optional", Optional[int], [None, 3, "x"]),
    ("Union", Union[int, str], [3, "x", 2.5, None]),
    ("Union bool int", Union[bool, int], [True, 1]),
    ("Union int float", Union[int, float], [1, 1.0]),
    ("new union", int | None | str, [None, 1, "1"]),
    ("Any", Any, [1, "x", [1, 2], None, {"a": 1.5}]),
    ("Path", pathlib.Path, [pathlib.Path("/a/b")]),
]:
    try:
        inner, outer = echo(kind)
    except Exception as raised:
        show(f"{label} declared", raised)
        continue
    for value in values:
        attempt(f"{label} {value!r}", lambda: flyte.run(inner, x=value).outputs()[0])
        attempt("  through", lambda: flyte.run(outer, value).outputs()[0])
