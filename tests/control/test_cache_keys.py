"""Keys of the cache, held to a golden file: the same in every process, Python and machine.

Made anew with: python tests/control/test_cache_keys.py
A key that changes here throws away what every user has cached. The version is given, because that of a body follows
from its syntax tree, which Python releases may write differently.
"""

import asyncio
import datetime
import decimal
import enum
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pydantic
import pytest

import flyte
from flyte._control.attempt import plan_of
from flyte._control.cache import key_of
from flyte._core.identity import hash_data

GOLDEN = Path(__file__).parent / "golden" / "cache_keys.json"

env = flyte.TaskEnvironment("golden", cache=flyte.Cache("auto", version_override="1"))


class Color(enum.Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: float = 0.5
    tags: dict[str, int] = field(default_factory=dict)


class Model(pydantic.BaseModel):
    points: list[int]
    name: str | None = None


class Pair(NamedTuple):
    a: int
    b: str


VALUES: dict[str, tuple[Any, Any]] = {
    "int": (int, 7),
    "negative int": (int, -(2**62)),
    "float": (float, 0.1),
    "str": (str, "grüße"),
    "bool": (bool, True),
    "none": (int | None, None),
    "bytes": (bytes, b"\x00\xff"),
    "datetime": (datetime.datetime, datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)),
    "timedelta": (datetime.timedelta, datetime.timedelta(days=1, microseconds=1)),
    "decimal": (decimal.Decimal, decimal.Decimal("1.50")),
    "enum": (Color, Color.RED),
    "list": (list[int], [1, 2, 3]),
    "dict": (dict[str, int], {"b": 2, "a": 1}),
    "nested": (dict[str, list[float]], {"z": [1.0], "a": []}),
    "set": (set[str], {"u", "v", "w", "x"}),
    "tuple": (tuple[int, str], (1, "a")),
    "namedtuple": (Pair, Pair(1, "b")),
    "dataclass": (Point, Point(1, tags={"b": 1, "a": 2})),
    "pydantic": (Model, Model(points=[1, 2], name="n")),
    "union": (int | str, "1"),
}


def key(annotation: Any, value: Any, **settings: Any) -> str:
    async def body(value: Any) -> int:
        return 1

    body.__annotations__ = {"value": annotation, "return": int}
    task = flyte.TaskEnvironment("golden").task(body)
    task = task.override(cache=flyte.Cache("auto", version_override="1", **settings))
    plan = plan_of(task)

    async def hashed() -> bytes:
        _, pieces = await plan.boundary.take_awaiting(task.name, (value,), {})
        return b"".join(pieces)

    found = key_of(plan, task.cache, hash_data(asyncio.run(hashed())))  # type: ignore[arg-type]
    assert found
    return found


def all_keys() -> dict[str, str]:
    return {name: key(annotation, value) for name, (annotation, value) in VALUES.items()}


@pytest.mark.parametrize("name", VALUES)
def test_the_key_is_the_golden_one(name):
    assert key(*VALUES[name]) == json.loads(GOLDEN.read_text())[name]


def test_no_two_keys_are_equal():
    keys = all_keys()
    assert len(set(keys.values())) == len(keys) == len(json.loads(GOLDEN.read_text()))


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(all_keys(), indent=2) + "\n")
