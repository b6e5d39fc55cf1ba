"""What users of the field have met: mixes of sync and async, siblings that fail, attempts that are made again."""

import asyncio
import enum
import json
import os
import tempfile
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

import pydantic

import flyte
import flyte.durable
import flyte.errors
import flyte.report
from flyte.io import File, HashlibAccumulator

from .failures import OutOfStock, at_once, own_error, said, third_time, value_error
from .program import Program

env = flyte.TaskEnvironment("wishes")
secret = flyte.TaskEnvironment("wishes_secret", secrets="secret-word", depends_on=[env])


class Shade(enum.Enum):
    DARK = "dark"
    LIGHT = "light"


class Options(TypedDict):
    depth: int
    tags: list[str]


class Scores(NamedTuple):
    best: float
    names: list[str]


class Note(pydantic.BaseModel):
    text: str
    shade: Shade = Shade.DARK


class Report(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    file: File
    notes: list[Note] = []
    by_shade: dict[str, Note | None] = {}


@dataclass
class Folder:
    files: list[File]
    size: int | None = None
    options: dict[str, int] = field(default_factory=dict)


class SoldOut(OutOfStock):
    """One that a caller catches by the class above it."""


class HttpError(Exception):
    """With a code of its own, which is no text."""

    def __init__(self, code: int, headers: dict[str, str]) -> None:
        super().__init__(f"answered {code}")
        self.code, self.headers, self.connection = code, headers, object()


class Final(flyte.errors.NonRecoverableError):
    """The user's own kind of an error that no retry helps."""

    def __init__(self, step: int) -> None:
        super().__init__(f"never, in step {step}")
        self.step = step


@env.task
async def inc(x: int) -> int:
    return x + 1


@env.task
def dec(x: int) -> int:
    return x - 1


@env.task
async def waits(x: int) -> int:
    await asyncio.sleep(30)
    return x


@env.task
async def fails_soon(x: int) -> int:
    await asyncio.sleep(0.2)
    raise OutOfStock("tea", x)


# Sync and async -----------------------------------------------------------------------------------------------------


@env.task
def sync_runs_async(x: int) -> int:
    return asyncio.run(inc(x))


@env.task
async def async_of_sync_of_sync(x: int) -> int:
    return await dec.aio(x) + await sync_calls_sync.aio(x)


@env.task
def sync_calls_sync(x: int) -> int:
    return dec(dec(x))


@env.task
def sync_catches(x: int) -> str:
    try:
        return str(sync_fails(x))
    except OutOfStock as error:
        return f"{said(error)} {error.left}"


@env.task
def sync_fails(x: int) -> int:
    raise OutOfStock("milk", x)


@env.task
def sync_map_exceptions() -> list[str]:
    return [said(one) if isinstance(one, Exception) else str(one) for one in flyte.map(sync_odd, [1, 2])]


@env.task
def sync_odd(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x


# At once ------------------------------------------------------------------------------------------------------------


@env.task
async def first_of_two() -> str:
    done, left = await asyncio.wait(
        [asyncio.create_task(inc(1)), asyncio.create_task(waits(1))], return_when=asyncio.FIRST_COMPLETED
    )
    for one in left:
        one.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    return str([one.result() for one in done])


@env.task
async def as_completed_fails() -> list[str]:
    found = []
    for call in asyncio.as_completed([value_error(1), inc(1)]):
        try:
            found.append(str(await call))
        except ValueError as error:
            found.append(said(error))
    return sorted(found)


@env.task
async def sibling_fails() -> str:
    found = "nothing"
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(waits(2))
            group.create_task(fails_soon(2))
    except* OutOfStock as errors:
        found = str([(type(one).__name__, getattr(one, "left", None)) for one in errors.exceptions])
    return found


@env.task
async def gather_fails(x: int) -> list[int]:
    return list(await asyncio.gather(waits(x), fails_soon(x)))


@env.task
async def gather_fails_below(x: int) -> str:
    try:
        return str(await gather_fails(x))
    except OutOfStock as error:
        return said(error)


@env.task
async def gather_cancelled() -> str:
    try:
        await asyncio.wait_for(asyncio.gather(waits(3), waits(4)), 1.5)
    except TimeoutError:
        return "too long"
    return "in time"


@env.task
async def cancelled_with_words() -> str:
    call = asyncio.create_task(waits(5))
    await inc(1)
    call.cancel("enough of it")
    try:
        await call
    except asyncio.CancelledError:
        return "cancelled"
    return "not cancelled"


@env.task
async def leaves(x: int) -> int:
    left = asyncio.create_task(writes_later(x))
    await inc(x)
    assert not left.done()
    return x


@env.task
async def writes_later(x: int) -> int:
    await asyncio.sleep(2)
    return x


@env.task
async def left_running() -> list[int]:
    return [await leaves(1), await inc(5), await writes_later(2)]


@env.task
async def few_at_a_time(n: int) -> list[int]:
    places = asyncio.Semaphore(2)

    async def one(x: int) -> int:
        async with places:
            return await inc(x)

    return list(await asyncio.gather(*map(one, range(n))))


@env.task
async def limited(x: int) -> int:
    async with flyte.limit("conformance", max=1):
        await asyncio.sleep(0.01)
    return x


@env.task
async def all_limited() -> list[int]:
    return list(await asyncio.gather(*map(limited, range(3))))


@env.task
async def row(n: int) -> list[int]:
    return [x async for x in flyte.map.aio(inc, range(n))]


@env.task
async def nested_map() -> list[list[int]]:
    return [x async for x in flyte.map.aio(row, [1, 2], group_name="rows")]


@env.task
async def fibonacci(n: int) -> int:
    return n if n < 2 else sum(await asyncio.gather(fibonacci(n - 1), fibonacci(n - 2)))


# Failures -----------------------------------------------------------------------------------------------------------


@env.task
async def sold_out(x: int) -> int:
    try:
        raise KeyError("shelf")
    except KeyError as error:
        failure = SoldOut("bread", x)
        failure.add_note("tip: come back tomorrow")
        raise failure from error


@env.task
async def http_error(x: int) -> int:
    raise HttpError(404, {"retry-after": "3"})


@env.task(retries=2)
async def final(x: int) -> int:
    raise Final(flyte.ctx().attempt_number)


@env.task
async def group_of_own(x: int) -> int:
    raise ExceptionGroup("all of it", [OutOfStock("tea", 1), ExceptionGroup("more", [HttpError(500, {}), KeyError(1)])])


@env.task(retries=2)
async def wrong_each_time(x: int) -> int:
    return "text"  # type: ignore[return-value]


@env.task
async def lost(x: int) -> int:
    raise flyte.errors.RuntimeSystemError("DiskGone", f"in attempt {flyte.ctx().attempt_number}")


@env.task
async def lost_at_first(x: int) -> int:
    if flyte.ctx().attempt_number < 2:
        raise flyte.errors.RuntimeSystemError("DiskGone", "once more")
    return flyte.ctx().attempt_number


@env.task
async def passes_on_lost(x: int) -> int:
    return await lost(x)


@env.task
async def codes() -> list[str]:
    found = []
    for error in (
        flyte.errors.CustomError("DEADLINE_EXCEEDED", "mine"),
        flyte.errors.RuntimeUserError("Interrupted", ""),
    ):
        try:
            await raises_code(error.code, str(error))
        except flyte.errors.RuntimeUserError as caught:
            found.append(said(caught))
    return found


@env.task
async def raises_code(code: str, message: str) -> None:
    raise flyte.errors.CustomError(code, message)


@env.task
async def own_classes() -> list[str]:
    found = []
    for task in (sold_out, http_error, final, own_error):
        try:
            await task(3)
        except OutOfStock as error:
            notes = [note for note in error.__notes__ if note.startswith("tip")]
            found.append(f"{said(error)} {error.left} {notes} {error.__cause__!r}")
        except HttpError as error:
            found.append(f"{said(error)} {error.headers}")
        except Final as error:
            found.append(f"{said(error)} {error.step}")
    return found


@env.task
async def own_group() -> list[str]:
    found = []
    try:
        await group_of_own(1)
    except* OutOfStock as errors:
        found.append(f"stock {[(str(one), one.left) for one in errors.exceptions if isinstance(one, OutOfStock)]}")
    except* HttpError as errors:
        found.append(f"http {[str(one) for one in errors.exceptions]}")
    except* KeyError:
        found.append("key")
    return found


@env.task
async def own_from_two_levels() -> str:
    try:
        await passes_on_sold_out(2)
    except SoldOut as error:
        return f"{said(error)} {error.left}"
    return "gave"


@env.task
async def passes_on_sold_out(x: int) -> int:
    return await sold_out(x)


@flyte.trace
async def stock(x: int) -> int:
    raise OutOfStock("tea", x)


@flyte.trace
async def breaks_off(n: int):
    for x in range(n):
        yield x
    raise OutOfStock("items", n)


@env.task
async def steps_fail() -> list[str]:
    found = []
    try:
        await stock(1)
    except OutOfStock as error:
        found.append(f"{type(error).__name__} {error.left}")
    try:
        async for x in breaks_off(2):
            found.append(str(x))
    except OutOfStock as error:
        found.append(f"{type(error).__name__} {error.left}")
    return found


# Attempts -----------------------------------------------------------------------------------------------------------


@env.task
async def fails_once(x: int) -> int:
    mark = Path(tempfile.gettempdir(), f"conformance-{os.getppid()}-{flyte.ctx().action.run_name}-{x}")
    if mark.exists():
        mark.unlink()
        return x
    mark.touch()
    raise ConnectionError("the first time")


@env.task(retries=1)
async def again_after_failed_child(x: int) -> int:
    return await fails_once(x)


@env.task
async def no_retries() -> str:
    try:
        return str(await third_time.override(retries=0)(0))
    except ConnectionError as error:
        return said(error)


@env.task(timeout=timedelta(seconds=1), retries=1)
async def never_in_time(x: int) -> int:
    await asyncio.sleep(60)
    return x


@env.task
async def catches_never_in_time() -> str:
    try:
        return str(await never_in_time(0))
    except flyte.errors.MaxRuntimeExceededError as error:
        return said(error)


@env.task
async def all_at_last() -> list[int]:
    return list(await asyncio.gather(*map(third_time, range(2))))


@env.task(retries=2, timeout=timedelta(seconds=4))
async def keeps(n: int) -> list[str]:
    checkpoint = flyte.ctx().checkpoint
    loaded = await checkpoint.load()
    done: list[str] = json.loads(loaded.read_text()) if loaded else []
    done.append(f"attempt {flyte.ctx().attempt_number}")
    await checkpoint.save(json.dumps(done).encode())
    if len(done) < n:
        await asyncio.sleep(60)
    return done


@env.task(retries=flyte.RetryStrategy(count=1, backoff=at_once))
async def durable_between_attempts() -> bool:
    # A first attempt has kept them before it failed; what they were is told by an earlier time.
    before, chance = flyte.durable.time(), flyte.durable.random()
    await flyte.durable.sleep.aio(0.2)
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("once more")
    return flyte.durable.time() >= before and 0 <= chance < 1


@env.task(retries=1)
async def again_after_children() -> str:
    found = await asyncio.gather(inc(1), value_error(1), return_exceptions=True)
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("once more")
    return str([said(one) if isinstance(one, Exception) else one for one in found])


# Values -------------------------------------------------------------------------------------------------------------


@env.task
async def scores(x: int) -> Scores:
    return Scores(x / 2, ["a", "b"])


@env.task
async def options(given: Options, shade: Shade | None = None) -> Options:
    return {"depth": given["depth"] + 1, "tags": [*given["tags"], shade.value if shade else "none"]}


@env.task
async def union(x: Note | Shade | list[int] | None) -> Note | Shade | list[int] | None:
    return x


@env.task
async def annotated(x: Annotated[int, "in metres"], y: dict[str, tuple[int, Shade | None]]) -> Annotated[str, "words"]:
    return f"{x} {sorted(y.items())}"


@env.task
async def kinds() -> list[str]:
    got = await scores(3)
    best, names = await scores(4)
    return [
        f"{type(got).__name__} {got.best} {best} {names}",
        str(await options({"depth": 1, "tags": []})),
        str(await options({"depth": 2, "tags": ["t"]}, Shade.LIGHT)),
        str([await union(x) for x in (Note(text="n"), Shade.DARK, [1], None)]),
        await annotated(3, {"a": (1, None), "b": (2, Shade.DARK)}),
    ]


@env.task
async def write(text: str) -> File:
    file: File = File.new_remote("said.txt", hash_method=HashlibAccumulator("sha256"))
    async with file.open("wb") as out:
        await out.write(text.encode())
    return file


@env.task
async def bind(file: File, text: str) -> Report:
    return Report(
        file=file, notes=[Note(text=text)], by_shade={"dark": None, "light": Note(text="l", shade=Shade.LIGHT)}
    )


@env.task
async def unbind(report: Report) -> str:
    async with report.file.open("rb") as source:
        return f"{(await source.read()).decode()} {report.notes} {report.by_shade}"


@env.task
async def nested_file() -> str:
    return await unbind(await bind(await write("inside"), "note"))


@env.task
async def pack(a: File, b: File) -> Folder:
    return Folder([a, b], None, {"n": 2})


@env.task
async def unpack(folder: Folder, again: Folder | None = None) -> list[str]:
    found = []
    for file in folder.files:
        async with file.open("rb") as source:
            found.append((await source.read()).decode())
    return [*found, str(folder.size), str(folder.options), str(again)]


@env.task
async def files_in_classes() -> list[str]:
    return await unpack(await pack(await write("one"), await write("two")))


@env.task
async def everything_by_default(
    a: int = 1,
    b: str | None = None,
    c: list[int] = [1, 2],  # noqa: B006
    d: Shade = Shade.LIGHT,
    e: Note = Note(text="d"),
) -> str:
    return f"{a} {b} {c} {d} {e}"


@env.task
async def defaults_of_children() -> list[str]:
    return [await everything_by_default(), await everything_by_default(2, c=[]), await everything_by_default(b="x")]


# What surrounds a body ----------------------------------------------------------------------------------------------


@secret.task
async def reads_secret() -> str:
    return str(os.environ.get("SECRET_WORD"))


@secret.task
async def secrets() -> list[str]:
    return [await reads_secret()]


@env.task
async def colour() -> str:
    return str(sorted(flyte.get_custom_context().items()))


@env.task
async def context_below() -> list[str]:
    found = []
    with flyte.custom_context(depth="1"):
        found += await colour_below()
    return [*found, await colour()]


@env.task
async def colour_below() -> list[str]:
    with flyte.custom_context(depth="2", more="yes"):
        return [await colour(), *[x async for x in flyte.map.aio(colour_of, [1, 2])]]


@env.task
async def colour_of(x: int) -> str:
    return f"{x} {flyte.get_custom_context().get('depth')}"


@env.task(report=True)
async def fails_with_report(x: int) -> int:
    flyte.report.get_tab("More").log(f"<p>{x}</p>")
    await flyte.report.flush.aio()
    raise ValueError("after its report")


@env.task
async def groups_and_steps() -> list[int]:
    with flyte.group("one"):
        found = [await inc(1), await kept(1)]
        with flyte.group("two"):
            found += await asyncio.gather(inc(1), kept(1))
    return [*found, await inc(1), await kept(1)]


@flyte.trace
async def kept(x: int) -> int:
    return 10 * x


@env.task
async def asks_two() -> list[str]:
    first, second = await asyncio.gather(
        flyte.new_condition.aio("left", "Left?", data_type=float),
        flyte.new_condition.aio("right", "Right?", data_type=str),
    )
    return [str(one) for one in await asyncio.gather(first.wait.aio(), second.wait.aio())]


@env.task
async def asks_below() -> str:
    return await asks_one(1) + "!"


@env.task
async def asks_one(x: int) -> str:
    return await (await flyte.new_condition.aio("below", f"{x}?", data_type=str)).wait.aio()


@env.task(cache="auto")
async def cached(x: int) -> Note:
    return Note(text=str(x))


@env.task
async def cached_in_map() -> list[str]:
    first = [x.text async for x in flyte.map.aio(cached, [1, 2])]
    return first + [x.text async for x in flyte.map.aio(cached, [2, 3])]


@env.task(cache=flyte.Cache("auto", serialize=True), retries=1)
async def cached_at_last(x: int) -> int:
    if flyte.ctx().attempt_number == 0:
        raise ConnectionError("once more")
    return x


@env.task
async def caches_at_last() -> list[int]:
    return [await cached_at_last(1), await cached_at_last(1)]


PROGRAMS = {
    "sync_runs_async": Program(task=sync_runs_async, args={"x": 1}),
    "sync_below_async": Program(task=async_of_sync_of_sync, args={"x": 3}),
    "sync_catches": Program(task=sync_catches, args={"x": 2}),
    "sync_map_exceptions": Program(task=sync_map_exceptions),
    "first_of_two": Program(task=first_of_two),
    "as_completed_fails": Program(task=as_completed_fails),
    "sibling_fails": Program(task=sibling_fails),
    "gather_fails": Program(task=gather_fails, args={"x": 5}),
    "gather_fails_below": Program(task=gather_fails_below, args={"x": 5}),
    "gather_cancelled": Program(task=gather_cancelled),
    "cancelled_with_words": Program(task=cancelled_with_words),
    "few_at_a_time": Program(task=few_at_a_time, args={"n": 3}),
    "limited": Program(task=all_limited),
    "nested_map": Program(task=nested_map),
    "fibonacci": Program(task=fibonacci, args={"n": 3}),
    "own_classes": Program(task=own_classes),
    "own_group": Program(task=own_group),
    "own_from_two_levels": Program(task=own_from_two_levels),
    "own_class_of_root": Program(task=http_error, args={"x": 1}),
    "own_final_of_root": Program(task=final, args={"x": 1}),
    "own_in_steps": Program(task=steps_fail),
    "codes": Program(task=codes),
    "wrong_each_time": Program(task=wrong_each_time, args={"x": 1}),
    "lost_at_first": Program(task=lost_at_first, args={"x": 1}),
    "lost_below": Program(task=passes_on_lost, args={"x": 1}),
    "no_retries": Program(task=no_retries),
    "never_in_time": Program(task=catches_never_in_time),
    "all_at_last": Program(task=all_at_last),
    "checkpoint_after_timeout": Program(task=keeps, args={"n": 2}),
    "durable_again": Program(task=durable_between_attempts),
    "again_after_children": Program(task=again_after_children),
    "again_after_failed_child": Program(task=again_after_failed_child, args={"x": 1}),
    "left_running": Program(task=left_running),
    "kinds": Program(task=kinds),
    "file_in_model": Program(task=nested_file),
    "files_in_classes": Program(task=files_in_classes),
    "defaults_of_children": Program(task=defaults_of_children),
    "secrets": Program(task=secrets),
    "context_below": Program(task=context_below, settings={"custom_context": {"colour": "red"}}),
    "report_of_failure": Program(task=fails_with_report, args={"x": 1}),
    "groups_and_steps": Program(task=groups_and_steps),
    "condition_two": Program(task=asks_two, answers={"left": 1.5, "right": "r"}),
    "condition_below": Program(task=asks_below, answers={"below": "yes"}),
    "cache_in_map": Program(task=cached_in_map),
    "cache_at_last": Program(task=caches_at_last),
}
