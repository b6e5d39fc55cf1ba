"""Seeded kills of the devbox and of its workers: every action ends exactly once, and nothing hangs."""

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import grpc
import pytest
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.workflow import run_service_pb2 as service

from flyte.devbox._machine import MAX_SYSTEM_FAILURES
from flyte.devbox.executors.process import is_alive

from .conftest import connected

RUNS, KILLS = 10, 4


def number(x: int) -> Inputs:
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = x
    return inputs


def workers_of(folder: Path) -> list[tuple[str, str]]:
    """The run and the ticket of each attempt that is not known to have ended."""
    connection = sqlite3.connect(f"file:{folder / 'devbox.db'}?mode=ro", uri=True)
    try:
        rows: list[tuple[str, str]] = connection.execute(
            "SELECT run.name, process FROM attempt JOIN action ON action.id = attempt.action JOIN run "
            "ON run.id = action.run WHERE attempt.ended_at IS NULL AND process != '' ORDER BY run.id"
        ).fetchall()
    finally:
        connection.close()
    return [(run, ticket) for run, ticket in rows if is_alive(ticket)]


async def create(folder: Path, spec, name: str) -> None:
    """Create a run whatever happens to the devbox meanwhile, as a client with retries does."""
    for _ in range(200):
        try:
            async with connected(folder) as client:
                await client.run(spec, number(1), name=name)
                return
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                return
            await asyncio.sleep(0.05)
    raise AssertionError(f"run {name} could not be created")


async def ended(folder: Path, name: str):
    for _ in range(200):
        try:
            async with connected(folder) as client:
                request = service.GetRunDetailsRequest(run_id={"project": "p", "domain": "d", "name": name})
                action = (await client.runs.GetRunDetails(request)).details.action
                return await client.wait(action.id.run)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)
    raise AssertionError(f"run {name} did not end")


@pytest.mark.parametrize("seed", [int(one) for one in os.environ.get("FLYTE_CHAOS_SEEDS", "1 2").split()])
async def test_kills(devbox, spec_of, seed):
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    devbox.start("--places", "4")

    async def disturb() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            if chance.random() < 0.5:
                # One loss more, and an action has to fail: on a busy machine there may be one worker only all the time.
                workers = [one for one in workers_of(devbox.folder) if killed[one[0]] < MAX_SYSTEM_FAILURES]
                for run, ticket in chance.sample(workers, k=min(len(workers), 1)):
                    killed[run] += 1
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(ticket.partition(":")[0]), signal.SIGKILL)
            else:
                devbox.kill()
                await asyncio.sleep(chance.uniform(0, 0.3))
                devbox.start("--places", "4")

    kinds = [
        ("double", P.ACTION_PHASE_SUCCEEDED),
        ("fails", P.ACTION_PHASE_FAILED),
        ("sleeps", P.ACTION_PHASE_SUCCEEDED),
    ]
    chosen = [chance.choice(kinds) for _ in range(RUNS)]
    trouble = asyncio.create_task(disturb())
    for number_, (task, _) in enumerate(chosen):
        await create(devbox.folder, spec_of(task), f"r{number_}")
    async with asyncio.timeout(60):
        found = [await ended(devbox.folder, f"r{number_}") for number_ in range(RUNS)]
        await trouble
    assert [one.status.phase for one in found] == [phase for _, phase in chosen]
    for number_, one in enumerate(found):
        # No attempt is lost that nobody has killed; one that a killed devbox did not come to begin is none.
        lost = [attempt for attempt in one.attempts[:-1] if attempt.phase != P.ACTION_PHASE_ABORTED]
        assert len(lost) <= killed[f"r{number_}"]
        phases = [attempt.phase for attempt in one.attempts]
        assert phases[-1] == one.status.phase and phases.count(P.ACTION_PHASE_SUCCEEDED) <= 1
        # An attempt that was lost is told apart from one that failed by itself.
        assert all(attempt.error_info.code == "Interrupted" for attempt in lost)
    await asyncio.sleep(0.1)
    assert not workers_of(devbox.folder)
