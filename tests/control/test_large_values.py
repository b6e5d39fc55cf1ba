"""Values too large for a message: stored once, by content, passed by reference, named by content."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import flyte
import flyte.errors
from flyte._definition.task import MAX_INLINE_IO_BYTES
from flyte._journal.history import History
from flyte._journal.values import fetch
from flyte.remote import Action, Run
from flyte.remote._literals import compare_inputs
from flyte.types._engine import codec_for
from flyte.types._inline import INLINE_BYTES, positions_apart
from flyte.types._offload import ENDING
from flyte.types._raw_data import raw_data_path
from flyte.types._stored import dump_values, load_values

env = flyte.TaskEnvironment(name="large_values")
SIZE = 11 * 1024 * 1024
ran: list[str] = []


@dataclass
class Held:
    name: str
    rows: list[str]


class Model(BaseModel):
    name: str
    rows: list[str]


ROWS = ["x" * 1000] * (SIZE // 1000)
VALUES: dict[str, tuple[Any, Any]] = {
    "str": (str, "ü" * (SIZE // 2)),
    "list": (list[str], ROWS),
    "dict": (dict[str, str], {f"k{i}": "y" * 1000 for i in range(SIZE // 1000)}),
    "nested": (dict[str, list[str]], {"a": ROWS, "b": ["z"]}),
    "dataclass": (Held, Held("n", ROWS)),
    "pydantic": (Model, Model(name="n", rows=ROWS)),
    "optional": (str | None, "o" * SIZE),
    "union": (list[str] | Held, Held("u", ROWS)),
}


def passing(annotation: Any) -> Any:
    async def passes(value: Any) -> Any:
        return value

    passes.__annotations__ = {"value": annotation, "return": annotation}
    child = env.task(passes)

    async def chain(value: Any) -> Any:
        for _ in range(2):
            value = await child(value)
        return value

    chain.__annotations__ = {"value": annotation, "return": annotation}
    return env.task(chain)


def stored(folder: Path) -> list[Path]:
    return sorted(folder.rglob(f"*{ENDING}"))


def test_one_limit():
    assert INLINE_BYTES == MAX_INLINE_IO_BYTES


@pytest.mark.parametrize(
    ("sizes", "apart"),
    [
        ([], []),
        ([INLINE_BYTES], []),
        ([INLINE_BYTES + 1], [0]),
        ([1, INLINE_BYTES, 5], [1]),
        ([INLINE_BYTES // 2 + 1] * 2, [0]),
        ([INLINE_BYTES, INLINE_BYTES + 1, 1], [1, 0]),
        ([INLINE_BYTES - 1, INLINE_BYTES + 1, 1], [1]),
    ],
)
def test_the_largest_go_until_the_rest_fits(sizes, apart):
    assert positions_apart(sizes) == apart


@pytest.mark.parametrize("kind", VALUES)
def test_a_large_value_passes_and_is_stored_once(kind, tmp_path):
    annotation, value = VALUES[kind]
    run = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw")).run(passing(annotation), value)
    assert run.result == value and type(run.result) is type(value)
    assert len(stored(tmp_path / "raw")) == 1


@env.task
async def pass_list(value: list[str]) -> list[str]:
    return value


@env.task
async def chain_of_lists(value: list[str]) -> list[str]:
    return await pass_list(await pass_list(value))


@env.task
async def pass_held(value: Held) -> Held:
    return value


@env.task
async def chain_held(value: Held) -> Held:
    return await pass_held(await pass_held(value))


@pytest.mark.parametrize("name", ["list", "dataclass"])
def test_a_large_value_passes_through_workers(name, tmp_path):
    chain = {"list": chain_of_lists, "dataclass": chain_held}[name]
    context = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"), workers=1)
    assert context.run(chain, VALUES[name][1]).result == VALUES[name][1]
    assert len(stored(tmp_path / "raw")) == 1


def test_many_values_that_are_too_much_together(tmp_path):
    @env.task
    async def joins(a: str, b: str, c: str) -> tuple[str, str, str]:
        return c, b, a

    @env.task
    async def root() -> int:
        parts = ["a" * 4_000_000, "b" * 4_500_000, "c" * 4_000_001]
        assert await joins(*parts) == tuple(reversed(parts))
        return 1

    assert flyte.with_runcontext(raw_data_path=str(tmp_path / "raw")).run(root).result == 1
    assert len(stored(tmp_path / "raw")) == 1  # the largest


def test_without_history_nothing_is_stored(tmp_path, monkeypatch):
    monkeypatch.setenv("FLYTE_JOURNAL", "off")
    context = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"))
    assert context.run(passing(list[str]), ROWS).result == ROWS
    assert stored(tmp_path) == []


def names_of(raw: Path, value: Any, **options: Any) -> list[str]:
    run = flyte.with_runcontext(raw_data_path=str(raw), **options).run(chain_of_lists, value)
    return sorted(action.name for action in Action.listall(run.name))


def test_names_follow_from_the_content_not_from_the_place(tmp_path):
    first = names_of(tmp_path / "a", ROWS)
    assert names_of(tmp_path / "b", list(ROWS)) == first
    assert names_of(tmp_path / "c", [*ROWS, "more"]) != first


def test_a_limit_that_was_asked_for_is_one(tmp_path):
    context = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"))
    limited = pass_list.override(max_inline_io_bytes=MAX_INLINE_IO_BYTES + 1)
    with pytest.raises(flyte.errors.InlineIOMaxBytesBreached, match="10,485,761"):
        context.run(limited, ROWS)
    assert context.run(pass_list.override(max_inline_io_bytes=100 << 20), ROWS).result == ROWS


@env.task(cache=flyte.Cache("override", version_override="1"))
async def makes(n: int) -> list[str]:
    ran.append("makes")
    return ["x" * 1000] * n


@env.task
async def asks(fails: bool = False) -> int:
    made = await makes(SIZE // 1000)
    if fails:
        raise ValueError("after makes")
    return len(made)


def spoil(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "short":
        path.write_bytes(data[:-1000])
    else:
        path.write_bytes(data[:5_000_000] + b"?" + data[5_000_001:])


@pytest.mark.parametrize("how", ["gone", "short", "changed"])
def test_a_stored_result_that_is_lost_is_made_again(how, tmp_path, caplog):
    ran.clear()
    context = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"))
    assert context.run(asks).result == SIZE // 1000
    assert context.run(asks).result == SIZE // 1000
    assert ran == ["makes"]
    (path,) = stored(tmp_path / "raw")
    spoil(path, how)
    assert context.run(asks).result == SIZE // 1000
    assert ran == ["makes", "makes"] and path.name in caplog.text
    if how != "changed":  # what was written anew is whole
        assert context.run(asks).result == SIZE // 1000 and ran == ["makes", "makes"]


@pytest.mark.parametrize("how", ["whole", "gone", "changed"])
def test_recovery_takes_a_stored_result_or_makes_it_again(how, tmp_path, monkeypatch):
    monkeypatch.setenv("FLYTE_CACHE", "off")
    ran.clear()
    context = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"))
    with pytest.raises(ValueError, match="after makes"):
        context.run(asks, fails=True)
    (path,) = stored(tmp_path / "raw")
    if how != "whole":
        spoil(path, how)
    again = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw"), recover_from="last")
    assert again.run(asks, fails=False).result == SIZE // 1000
    assert ran == ["makes"] if how == "whole" else ["makes", "makes"]


def test_a_value_that_is_lost_afterwards_is_named(tmp_path):
    run = flyte.with_runcontext(raw_data_path=str(tmp_path / "raw")).run(pass_list, ROWS)
    assert Run.get(run.name).outputs()[0] == ROWS
    (path,) = stored(tmp_path / "raw")
    spoil(path, "gone")
    assert path.name in repr(Run.get(run.name).outputs()[0])


async def test_what_is_stored_is_checked_when_it_is_read(tmp_path):
    token = raw_data_path.set(str(tmp_path))
    try:
        codec = codec_for(list[str])
        data = await dump_values([("x", codec)], [ROWS])
        assert len(data) < 1000
        assert await load_values([("x", codec)], data) == [ROWS]
        (path,) = stored(tmp_path)
        spoil(path, "changed")
        with pytest.raises(flyte.errors.TypeTransformerFailedError, match=f"damaged.*{path.name}"):
            await load_values([("x", codec)], data)
        spoil(path, "gone")
        with pytest.raises(flyte.errors.TypeTransformerFailedError, match=path.name):
            await load_values([("x", codec)], data)
    finally:
        raw_data_path.reset(token)


def test_why_sees_equal_values_in_different_places(tmp_path):
    contexts = [flyte.with_runcontext(raw_data_path=str(tmp_path / name), name=name) for name in ("a", "b")]
    for context in contexts:
        context.run(pass_list, ROWS)
    with History() as history:
        actions = [history.action(history.run(name)) for name in ("a", "b")]
        kept = [fetch(history.values(action.id)[0]) for action in actions]
    assert kept[0] != kept[1] and compare_inputs(*kept) == (1, [])
