"""Lines and changes of a run that goes on, from a real devbox that is killed meanwhile."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import flyte
import flyte.remote
from flyte.models import ActionPhase
from flyte.remote._plane_streams import changes_of, lines_as_written, lines_of, lines_so_far

PROGRAMS = Path(__file__).parent / "programs"
sys.path.insert(0, str(PROGRAMS))

import everything  # noqa: E402


def started(task: Any, *args: Any) -> Any:
    flyte.init(root_dir=PROGRAMS)
    return flyte.with_runcontext(mode="remote").run(task, *args)


@pytest.mark.timeout(180)
def test_each_line_comes_once_though_the_control_plane_was_killed(own_devbox: Any) -> None:
    run = started(everything.ticks, 100)
    phases: list[str] = []

    async def follow() -> list[str]:
        seen = []
        told = lambda actions: phases.extend(one.phase for one in actions)  # noqa: E731
        async for _, line in lines_as_written(run._source, run._entry, told):
            seen.append(line.line)
            if len(seen) == 5:
                await asyncio.to_thread(own_devbox.kill)
                await asyncio.sleep(6.0)  # longer than a call is repeated
                await asyncio.to_thread(own_devbox.start)
        return seen

    assert asyncio.run(follow()) == [f"tick {number}" for number in range(100)]
    run.sync()
    assert run.phase is ActionPhase.SUCCEEDED
    assert phases[-1] == "succeeded"


def test_who_does_not_follow_is_given_what_is_there(devbox: Any) -> None:
    run = started(everything.sleep, 60.0)
    source = run._source

    async def look() -> list[str]:
        return [line.line async for _, line in lines_so_far(source, run._entry)]

    until = time.monotonic() + 30
    begun = time.monotonic()
    while run.sync().phase is not ActionPhase.RUNNING:
        assert time.monotonic() < until
    assert asyncio.run(look()) == []
    assert time.monotonic() - begun < 30, "it was waited for"
    run.abort()
    run.wait()

    async def changes() -> list[str]:
        return [one.phase async for actions in changes_of(source, run._entry) for one in actions]

    assert asyncio.run(changes())[-1] == "aborted"

    async def of_no_attempt() -> None:
        async for _ in lines_of(source, run._entry, None, 7):
            pass

    with pytest.raises(ValueError, match="action a0 has 1 attempts, the first is 0: there is no 7"):
        asyncio.run(of_no_attempt())
