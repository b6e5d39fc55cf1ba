"""Write what an implementation makes of files and folders, through its public API only.

Usage: ``python golden_values.py OUTPUT.json`` with the interpreter in which the implementation is installed.
"""

import asyncio
import dataclasses
import json
import pathlib
import sys
import typing

from google.protobuf import text_format
from pydantic import BaseModel

from flyte.io import Dir, File
from flyte.types import TypeEngine

FILE = File(path="/tmp/a.txt")
HASHED = File(path="s3://b/k.csv", format="csv", hash="abc")
DIR = Dir(path="s3://b/dir/")


@dataclasses.dataclass
class Plain:
    f: File
    d: Dir
    o: File | None = None


class Model(BaseModel):
    f: File
    all: list[Dir]


CASES: list[tuple[str, typing.Any, typing.Any]] = [
    ("file", File, FILE),
    ("hashed", File, HASHED),
    ("parameter", File[str], File[str](path="/tmp/a.txt", format="csv")),
    ("dir", Dir, DIR),
    ("list", list[File], [FILE, HASHED]),
    ("dict", dict[str, Dir], {"a": DIR}),
    ("optional", typing.Optional[File], FILE),
    ("none", typing.Optional[File], None),
    ("union", typing.Union[File, Dir], DIR),
    ("dataclass", Plain, Plain(HASHED, DIR)),
    ("model", Model, Model(f=HASHED, all=[DIR])),
]


async def one(annotation: typing.Any, value: typing.Any) -> dict[str, str]:
    expected = TypeEngine.to_literal_type(annotation)
    literal = await TypeEngine.to_literal(value, annotation, expected)
    shown = "" if annotation in (Plain, Model) else text_format.MessageToString(expected, as_one_line=True)
    return {"type": shown, "hex": literal.SerializeToString(deterministic=True).hex()}


async def main() -> None:
    golden = {name: await one(annotation, value) for name, annotation, value in CASES}
    pathlib.Path(sys.argv[1]).write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
