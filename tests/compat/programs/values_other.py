"""Protobuf messages, pickled classes, functions, None outputs."""

from typing import Any, List, Optional

from google.protobuf import struct_pb2, timestamp_pb2

import flyte
import transcript
from transcript import attempt, show

transcript.REFUSED = True

env = flyte.TaskEnvironment("others")


class Plain:
    def __init__(self, x):
        self.x = x


@env.task
async def message(x: timestamp_pb2.Timestamp) -> timestamp_pb2.Timestamp:
    return x


@env.task
async def struct(x: struct_pb2.Struct) -> struct_pb2.Struct:
    return x


@env.task
async def plain(x: Plain) -> Plain:
    return Plain(x.x + 1)


@env.task
async def plains(x: List[Plain]) -> Optional[Plain]:
    return x[0] if x else None


@env.task
async def number(x: complex) -> complex:
    return x


@env.task
async def anything(x: Any) -> Any:
    return x


@env.task
async def untyped(x, y=3):
    return [x, y]


@env.task
async def nothing() -> None:
    return None


@env.task
async def no_annotation(x: int):
    return x


@env.task
async def says_none(x: int) -> None:
    return x


made = struct_pb2.Struct()
made.update({"a": 1, "b": ["x"]})
attempt("message", lambda: str(flyte.run(message, timestamp_pb2.Timestamp(seconds=5)).outputs()[0]))
attempt("struct", lambda: dict(flyte.run(struct, made).outputs()[0].items())["a"])
attempt("plain", lambda: flyte.run(plain, Plain(1)).outputs()[0].x)
attempt("plain wrong", lambda: flyte.run(plain, 3).outputs()[0].x)
attempt("plains", lambda: flyte.run(plains, [Plain(1)]).outputs()[0].x)
attempt("plains none", lambda: flyte.run(plains, []).outputs()[0])
attempt("complex", lambda: repr(flyte.run(number, 1 + 2j).outputs()[0]))
for value in (1, "x", [1, "y"], {"a": 1}, None, (1, 2), {1, 2}):
    attempt(f"any {value!r}", lambda: flyte.run(anything, value).outputs()[0])
attempt("any object", lambda: flyte.run(anything, Plain(3)).outputs()[0].x)
attempt("untyped", lambda: flyte.run(untyped, 1).outputs())
attempt("untyped outside", lambda: untyped(1))
attempt("nothing", lambda: len(flyte.run(nothing).outputs()))
attempt("nothing tuple", lambda: tuple(flyte.run(nothing).outputs()))
attempt("no annotation", lambda: tuple(flyte.run(no_annotation, 1).outputs()))
attempt("says None", lambda: tuple(flyte.run(says_none, 1).outputs()))
