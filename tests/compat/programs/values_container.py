"""Containers in and out."""

import typing
from collections import OrderedDict
from typing import Annotated, Any, Dict, FrozenSet, List, NamedTuple, Optional, Set, Tuple, TypedDict, Union

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("containers")


class Point(NamedTuple):
    x: int
    y: float = 1.5


class Movie(TypedDict):
    name: str
    year: int


class Partial(TypedDict, total=False):
    name: str
    year: int


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
    ("list", List[int], [[1, 2], [], [1, "x"], (1, 2), None]),
    ("list pep585", list[str], [["a"], "abc"]),
    ("list nested", list[list[int]], [[[1], [], [2, 3]]]),
    ("list optional", list[Optional[int]], [[1, None]]),
    ("list union", list[Union[int, str]], [[1, "1"]]),
    ("bare list", list, [[1, "x", 2.5]]),
    ("dict", Dict[str, int], [{"b": 1, "a": 2}, {}, {"a": "x"}, {1: 2}]),
    ("dict int keys", dict[int, str], [{1: "a", -2: "b"}]),
    ("dict float keys", dict[float, int], [{1.5: 2}]),
    ("dict bool keys", dict[bool, int], [{True: 2}]),
    ("dict tuple keys", dict[tuple[int, int], str], [{(1, 2): "x"}]),
    ("dict nested", dict[str, dict[str, list[int]]], [{"a": {"b": [1]}}]),
    ("dict union", dict[str, Union[int, float, str, bool]], [{"a": 1, "b": 1.0, "c": "x", "d": True}]),
    ("bare dict", dict, [{"a": 1, "b": [1, 2.5, None], "c": {"d": True}}, {1: "x"}]),
    ("dict any", dict[str, Any], [{"a": 1, "b": 1.0, "c": [1, {"d": None}]}]),
    ("tuple", Tuple[int, str], [(1, "x"), (1,), [1, "x"], (1, 2)]),
    ("tuple pep585", tuple[int, list[str]], [(1, ["a"])]),
    ("tuple endless", tuple[int, ...], [(1, 2, 3), ()]),
    ("bare tuple", tuple, [(1, "x")]),
    ("NamedTuple", Point, [Point(1, 2.0), Point(3), (1, 2.0)]),
    ("TypedDict", Movie, [{"name": "a", "year": 1}, {"name": "a"}, {"name": "a", "year": "x"}]),
    ("TypedDict partial", Partial, [{"name": "a"}, {}, {"name": "a", "year": 2}]),
    ("set", Set[int], [{1, 2}, set(), {"x"}]),
    ("set pep585", set[str], [{"a", "b"}]),
    ("frozenset", FrozenSet[str], [frozenset({"a"})]),
    ("list tuple", list[tuple[str, int]], [[("a", 1)]]),
    ("list NamedTuple", list[Point], [[Point(1, 2.0)]]),
    ("optional list", Optional[list[int]], [None, [1], []]),
    ("union of containers", Union[list[int], dict[str, int]], [[1], {"a": 1}]),
    ("annotated", Annotated[int, "note"], [3, "x"]),
    ("annotated list", list[Annotated[str, "note"]], [["a"]]),
    ("list bytes", list[bytes], [[b"\x00"]]),
]:
    try:
        inner, outer = echo(kind)
    except Exception as raised:
        show(f"{label} declared", raised)
        continue
    for value in values:
        attempt(f"{label} {value!r}" if not isinstance(value, (set, frozenset)) else f"{label} {len(value)}",
                lambda: flyte.run(inner, x=value).outputs()[0])
        attempt("  through", lambda: flyte.run(outer, value).outputs()[0])
