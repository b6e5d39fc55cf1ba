"""The devbox as a process, with one thing that a stricter control plane does: each request is held to the rules of its
fields (protovalidate), and refused with all that is wrong with it.

``python checked_devbox.py`` takes what ``python -m flyte.devbox`` takes. What came is in ``requests.jsonl`` of the
devbox's state folder, one line for each method and each kind of violation.
"""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import protovalidate

from flyte._core.home import home_dir
from flyte.devbox import _plane
from flyte.devbox.__main__ import main

_opened_unchecked = _plane._opened


class Record:
    """What came, each thing once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: set[str] = set()

    def add(self, method: str, violations: list[str]) -> None:
        line = json.dumps({"method": method, "violations": violations})
        if line not in self._said:
            self._said.add(line)
            with open(self._path, "a") as file:
                file.write(line + "\n")


record: Record | None = None


def violations_of(message: Any) -> list[str]:
    """What a stricter server would refuse a message for."""
    try:
        protovalidate.validate(message)
    except protovalidate.ValidationError as error:
        return [
            ".".join(part.field_name for part in one.proto.field.elements) + f": {one.proto.message}"
            for one in error.violations
        ]
    return []


def opened(handler: Any) -> Any:
    """The handler of a method, behind the check."""
    inner = _opened_unchecked(handler)

    async def refused(request: Any, context: Any) -> None:
        assert record is not None
        found = violations_of(request)
        record.add(type(request).DESCRIPTOR.full_name, found)
        if found:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "; ".join(found))

    coders = {
        "request_deserializer": inner.request_deserializer,
        "response_serializer": inner.response_serializer,
    }
    if inner.response_streaming:

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refused(request, context)
            async for answer in inner.unary_stream(request, context):
                yield answer

        return grpc.unary_stream_rpc_method_handler(stream, **coders)

    async def call(request: Any, context: Any) -> Any:
        await refused(request, context)
        return await inner.unary_unary(request, context)

    return grpc.unary_unary_rpc_method_handler(call, **coders)


if __name__ == "__main__":
    os.makedirs(home_dir(), exist_ok=True)
    record = Record(home_dir() / "requests.jsonl")
    _plane._opened = opened
    sys.exit(main())
