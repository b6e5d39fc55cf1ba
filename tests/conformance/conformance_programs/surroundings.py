"""What surrounds a body: files, reports, checkpoints, context, variables and secrets."""

import json
import os
import tempfile
from pathlib import Path

import flyte
import flyte.report
from flyte.io import Dir, File, HashlibAccumulator

from .program import Program

env = flyte.TaskEnvironment("surroundings")
with_variables = flyte.TaskEnvironment(
    "variables",
    env_vars={"UNITS": "metric"},
    secrets=flyte.Secret(key="secret-word", as_env_var="WORD"),
    depends_on=[env],
)


@env.task
async def write(text: str) -> File:
    # An input that has a hash stands for its content; without one, for the place where it is.
    file: File = File.new_remote("said.txt", hash_method=HashlibAccumulator("sha256"))
    async with file.open("wb") as out:
        await out.write(text.encode())
    return file


@env.task
async def read(file: File) -> str:
    async with file.open("rb") as source:
        return (await source.read()).decode()


@env.task
async def read_all(files: dict[str, File]) -> list[str]:
    return [f"{name}: {await read(file)}" for name, file in sorted(files.items())]


@env.task
async def folder(n: int) -> Dir:
    with tempfile.TemporaryDirectory() as made:
        for x in range(n):
            Path(made, f"part-{x}").write_text("x" * x)
        return await Dir.from_local(made)


@env.task
async def sizes(found: Dir) -> list[int]:
    return sorted([len(await read.forward(file)) async for file in found.walk()])


@env.task
async def variables() -> str:
    return f"{os.environ.get('UNITS')} {os.environ.get('EXTRA')}"


@with_variables.task
async def own_variables() -> str:
    return f"{os.environ.get('UNITS')} {os.environ.get('EXTRA')} {os.environ.get('WORD')}"


@env.task
async def context() -> str:
    return str(sorted(flyte.get_custom_context().items()))


@env.task
async def about() -> list[str]:
    here = flyte.ctx()
    assert here is not None
    return [here.action.name, str(here.attempt_number), str(here.is_in_cluster())]


@env.task
async def file(text: str) -> str:
    return await read(await write(text))


@env.task
async def files() -> list[str]:
    return await read_all({"a": await write("one"), "b": await write("two")})


@env.task
async def file_at_a_place() -> str:
    made: File = File.new_remote("h.txt")
    async with made.open("wb") as out:
        await out.write(b"here")
    return await read(made)


@env.task
async def folders() -> list[int]:
    return await sizes(await folder(3))


@env.task(report=True)
async def report(x: int) -> int:
    flyte.report.log(f"<p>{x}</p>")
    await flyte.report.flush.aio()
    return x


@env.task
async def reports() -> int:
    return await report(3)


@env.task(retries=2)
async def train(n: int) -> list[str]:
    checkpoint = flyte.ctx().checkpoint
    done: list[str] = []
    if loaded := await checkpoint.load():
        done = json.loads(loaded.read_text())
    while len(done) < n:
        done.append(f"step {len(done)} in attempt {flyte.ctx().attempt_number}")
        await checkpoint.save(json.dumps(done).encode())
        if len(done) == 2:
            raise ConnectionError("gone")
    return done


@env.task
async def trains() -> list[str]:
    return await train(3)


@with_variables.task
async def all_variables() -> list[str]:
    changed = variables.override(env_vars={"EXTRA": "more"})
    return [await own_variables(), await variables(), await changed()]


@env.task
async def contexts() -> list[str]:
    found = [await context()]
    with flyte.custom_context(colour="blue", added="1"):
        found.append(await context())
    return [*found, await context()]


@env.task
async def children_about() -> list[list[str]]:
    return [await about(), await about()]


@env.task
async def prints(x: int) -> int:
    print("printed", x)
    return x


@env.task
async def big(n: int) -> int:
    return len(await echo("y" * n))


@env.task
async def echo(text: str) -> str:
    return text


@env.task(max_inline_io_bytes=1000)
async def little(text: str) -> int:
    return len(text)


@env.task
async def too_big() -> str:
    try:
        await little("z" * 5000)
    except flyte.errors.InlineIOMaxBytesBreached as error:
        return f"{error.code} {error.kind}: {error}"
    return "gave"


@env.task
async def larger(lines: list[str]) -> list[str]:
    return [*lines, "end"]


@env.task
async def large(n: int) -> str:
    """More than travels inside a message, in and out."""
    lines = await larger(await larger(["z" * 1000] * n))
    return f"{len(lines)} {lines[-2:]}"


PROGRAMS = {
    "file": Program(task=file, args={"text": "grüße"}),
    "file_empty": Program(task=file, args={"text": ""}),
    "files": Program(task=files),
    "file_at_a_place": Program(task=file_at_a_place),
    "folder": Program(task=folders),
    "report": Program(task=reports),
    "report_of_root": Program(task=report, args={"x": 1}),
    "checkpoint": Program(task=trains),
    "checkpoint_of_root": Program(task=train, args={"n": 3}),
    "variables": Program(task=all_variables),
    "variables_of_run": Program(task=all_variables, settings={"env_vars": {"EXTRA": "run", "UNITS": "run"}}),
    "variables_of_root": Program(task=own_variables),
    "custom_context": Program(task=contexts, settings={"custom_context": {"colour": "red"}}),
    "custom_context_empty": Program(task=contexts),
    "about": Program(task=children_about),
    "prints": Program(task=prints, args={"x": 1}),
    "big_value": Program(task=big, args={"n": 1_000_000}),
    "large_value": Program(task=large, args={"n": 12_000}),
    "large_value_of_root": Program(task=larger, args={"lines": ["z" * 1000] * 12_000}),
    "too_big_value": Program(task=too_big),
    "too_big_for_root": Program(task=little, args={"text": "z" * 5000}),
}
