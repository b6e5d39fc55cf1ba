"""``Condition``, shaped like that of a control plane: finding the conditions of a run, and answering them."""

import asyncio
import json

import pytest

import flyte
from flyte._journal.condition import Condition
from flyte._journal.redaction import remember_secret
from flyte._journal.writer import writer
from flyte.errors import ConditionNotFoundError, RuntimeUserError, TypeTransformerFailedError

env = flyte.TaskEnvironment(name="asks")


@env.task
async def one(name: str) -> int:
    condition = await flyte.new_condition.aio(
        name, prompt=f"{name}\x1b[2J? (key s3cr3t)", data_type=int, description="two\nlines"
    )
    return await condition.wait.aio()


@env.task
async def main() -> list[int]:
    return list(await asyncio.gather(one("first"), one("second")))


async def when_two_wait() -> list[Condition]:
    async with asyncio.timeout(10):
        while True:
            try:
                found = [one async for one in Condition.listall.aio(run_name="r1")]
            except ConditionNotFoundError:
                found = []
            if len(found) == 2:
                return found
            await asyncio.sleep(0.01)


@pytest.fixture(autouse=True)
def _there_is_a_history():
    """As after a first run: these tests look into it from threads of the process that would make it."""
    writer()


@pytest.fixture(params=["on", "off"])
def journal(request, monkeypatch):
    monkeypatch.setenv("FLYTE_JOURNAL", request.param)
    return request.param


async def test_conditions_are_found_and_answered(journal):
    running = asyncio.create_task(flyte.with_runcontext(name="r1").run.aio(main))
    first, second = await when_two_wait()
    assert [first.name, second.name] == ["first", "second"]
    assert (first.run_name, first.phase, first.expected_type) == ("r1", "paused", int)
    assert first.action_name != second.action_name

    assert await Condition.get.aio("third", run_name="r1") is None
    assert await Condition.get.aio("first", run_name="r2") is None
    with pytest.raises(ConditionNotFoundError):
        [one async for one in Condition.listall.aio(run_name="r2")]

    with pytest.raises(TypeTransformerFailedError, match="condition 'first' of run r1"):
        await first.signal.aio("1")
    await first.signal.aio(1)
    found = await Condition.get.aio("second", run_name="r1")
    assert found is not None
    await asyncio.to_thread(found.signal, 2)  # the blocking face, in a thread of its own
    assert (await running).result == [1, 2]

    if journal == "on":
        with pytest.raises(RuntimeUserError, match="the first answer counts"):
            await found.signal.aio(3)
        again = await Condition.get.aio("second", run_name="r1")
        assert again is not None
        assert again.phase == "succeeded"
        assert json.loads(again.to_json())["answer"]["value"] == 2


async def test_what_is_shown_holds_no_secret_and_moves_no_cursor(caplog):
    remember_secret("s3cr3t")
    running = asyncio.create_task(flyte.with_runcontext(name="r1").run.aio(one, "first"))
    async with asyncio.timeout(10):
        while (found := await Condition.get.aio("first", run_name="r1")) is None:
            await asyncio.sleep(0.01)
    assert found.prompt == "first [2J? (key *****)"
    assert found.to_dict()["description"] == "two\nlines"
    await found.signal.aio(1)
    await running
    assert "s3cr3t" not in caplog.text
    assert "\x1b" not in caplog.text


async def test_only_those_of_one_action():
    running = asyncio.create_task(flyte.with_runcontext(name="r1").run.aio(main))
    first, second = await when_two_wait()
    parent = first._asked.parent
    assert [one.name async for one in Condition.listall.aio(run_name="r1", action_name=parent)] == ["first"]
    assert await Condition.get.aio("second", run_name="r1", action_name=parent) is None
    assert [one.name async for one in Condition.listall.aio(run_name="r1", limit=1)] == ["first"]
    await first.signal.aio(1)
    await second.signal.aio(1)
    await running
