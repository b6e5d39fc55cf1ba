"""A program that both SDKs run. Its results say of what type everything came back."""

import asyncio
import dataclasses
import enum
import sys
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

import flyte
import flyte.errors
from flyte.io import Dir, File

env = flyte.TaskEnvironment("shop", image=flyte.Image.from_base("nowhere/none:1"))


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclasses.dataclass
class Item:
    name: str
    count: int
    weight: float


class Order(BaseModel):
    items: list[int]
    note: str | None = None


@env.task
async def plain(i: int, f: float, s: str, b: bool, when: datetime, span: timedelta) -> str:
    return repr((i, f, s, b, when.astimezone(UTC).isoformat(), span))


@env.task
async def collected(numbers: list[int], table: dict[str, float], size: Size, maybe: int | None) -> str:
    return repr((numbers, sorted(table.items()), size, maybe))


@env.task
async def structured(item: Item, order: Order) -> Item:
    assert isinstance(item, Item), type(item)
    assert isinstance(order, Order), type(order)
    return Item(item.name * 2, item.count + len(order.items), item.weight)


@env.task
async def raw(data: bytes) -> bytes:
    return data[::-1]


@env.task
async def written(text: str) -> File:
    import tempfile

    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write(text)
    return await File.from_local(file.name)


@env.task
async def folder(text: str) -> Dir:
    import pathlib
    import tempfile

    place = pathlib.Path(tempfile.mkdtemp())
    (place / "one.txt").write_text(text)
    return await Dir.from_local(str(place))


@env.task
async def length(file: File, place: Dir) -> int:
    async with file.open("rb") as handle:
        content = await handle.read()
    names = [one.name async for one in place.walk()]
    return len(bytes(content)) + len(names)


@env.task
def synchronous(x: int) -> int:
    return x + 1


@env.task
async def fails(x: int) -> int:
    raise ValueError(f"no {x}")


@flyte.trace
async def traced(x: int) -> int:
    return x * 3


@env.task
async def nested(x: int) -> int:
    return await traced(x) + sum(await asyncio.gather(*[plus(x, y) for y in range(2)]))


@env.task
async def plus(x: int, y: int) -> int:
    return x + y


@env.task(cache=flyte.Cache("override", version_override="1"))
async def remembered(x: int) -> int:
    return x * x


@env.task
async def main(n: int, item: Item, order: Order) -> list[str]:
    said = [
        await plain(n, 1.5, "é", True, datetime(2026, 1, 2, tzinfo=UTC), timedelta(seconds=90)),
        await collected([1, 2], {"a": 0.5}, Size.LARGE, None),
        await collected([], {}, Size.SMALL, 3),
        repr(await structured(item, order)),
        repr(await raw(b"\x00abc")),
        repr(await length(await written("hello"), await folder("x"))),
        repr(await synchronous.aio(n) if hasattr(synchronous, "aio") else synchronous(n)),
        repr(await nested(n)),
        repr(await remembered(n)),
    ]
    with flyte.group("pairs"):
        said.append(repr(await asyncio.gather(plus(n, 1), plus(n, 2))))
    try:
        await fails(n)
    except flyte.errors.RuntimeUserError as error:
        said.append(f"{error.code}: no {n}" if f"no {n}" in str(error) else str(error))
    return said


ARGUMENTS = {"n": 3, "item": Item("pen", 2, 0.25), "order": Order(items=[7, 8])}


def submit(endpoint: str, base: str) -> None:
    """Run it on a control plane; what is printed last is the name of the run and what it gave."""
    import json

    flyte.init(endpoint=endpoint, insecure=True, org="me", project="flytesnacks", domain="development")
    run = flyte.with_runcontext(mode="remote", run_base_dir=base or None).run(main, **ARGUMENTS)
    run.wait()
    print(json.dumps([flyte.__version__, run.name, str(run.phase), next(iter(run.outputs()))]))


if __name__ == "__main__":
    submit(*sys.argv[1:])
