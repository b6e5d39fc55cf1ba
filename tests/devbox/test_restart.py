"""The devbox is started, stopped and killed; nothing that was asked of it is lost."""

import asyncio
import contextlib
import os
import resource
import signal
import time
from pathlib import Path

import grpc
import pytest
from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.workflow import run_service_pb2 as service

from flyte.devbox import _lifecycle as lifecycle

from .conftest import connected


def number(x: int) -> Inputs:
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = x
    return inputs


def wait_for(path: Path, timeout_s=15.0) -> str:
    until = time.monotonic() + timeout_s
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < until, f"{path} was not written"
        time.sleep(0.02)
    return path.read_text()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int, timeout_s=15.0) -> None:
    until = time.monotonic() + timeout_s
    while is_running(pid):
        assert time.monotonic() < until, f"process {pid} goes on"
        time.sleep(0.02)


def test_it_is_ready_within_two_seconds_and_its_files_are_private(devbox):
    assert devbox.start() < 2.0
    for name in ("token", "endpoint.json", "devbox.db"):
        assert (devbox.folder / name).stat().st_mode & 0o077 == 0, name
    assert devbox.folder.stat().st_mode & 0o077 == 0


async def test_nobody_gets_in_without_the_token(shared_home):
    for token in ("wrong", "", (shared_home.folder / "token").read_text() + "x"):
        async with connected(shared_home.folder, token) as client:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.runs.ListRuns(service.ListRunsRequest())
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
            request = actions.WatchForUpdatesRequest(parent_action_id=ActionIdentifier(name="a0"))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                async for _ in client.actions.WatchForUpdates(request):
                    pass
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_after_a_kill_what_runs_is_adopted(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        run = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "mark")}), number(2))
        pid = wait_for(tmp_path / "mark")
        before = lifecycle.read_endpoint(devbox.folder)["endpoint"]
    devbox.kill()
    devbox.start()
    assert lifecycle.read_endpoint(devbox.folder)["endpoint"] == before
    async with connected(devbox.folder) as client:
        details = await client.wait(run)
        assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_SUCCEEDED, 1)
        assert (tmp_path / "mark").read_text() == pid, "it was run a second time"


async def test_after_a_kill_what_ended_meanwhile_is_found(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        done = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "done")}), number(1))
        lost = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "lost")}), number(2))
        wait_for(tmp_path / "done")
        first = wait_for(tmp_path / "lost")
    devbox.kill()
    (tmp_path / "lost").unlink()
    os.kill(int(first), signal.SIGKILL)
    time.sleep(1.5)
    devbox.start()
    async with connected(devbox.folder) as client:
        details = await client.wait(done)
        assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_SUCCEEDED, 1)
        details = await client.wait(lost)
        assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_SUCCEEDED, 2)
        assert details.attempts[0].error_info.code == "Interrupted"


async def test_a_worker_that_is_killed_is_retried_in_time(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        run = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "mark")}), number(2))
        pid = int(wait_for(tmp_path / "mark"))
        (tmp_path / "mark").unlink()
        killed = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        wait_for(tmp_path / "mark")
        assert time.monotonic() - killed < 15
        assert (await client.wait(run)).status.phase == P.ACTION_PHASE_SUCCEEDED


async def test_a_start_that_was_not_written_down_is_not_made_twice(devbox, spec_of, tmp_path):
    # Killed when the process has begun, and before anything says which it is.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, pathlib\n"
        "write = pathlib.Path.write_text\n"
        "def cut(self, *args, **kwargs):\n"
        "    if self.name == 'ticket':\n"
        "        os.kill(os.getpid(), 9)\n"
        "    return write(self, *args, **kwargs)\n"
        "pathlib.Path.write_text = cut\n"
    )
    devbox.environ["PYTHONPATH"] = str(tmp_path)
    devbox.start()
    async with connected(devbox.folder) as client:
        with contextlib.suppress(grpc.aio.AioRpcError):  # the answer may be cut off
            await client.run(spec_of("sleeps", {"MARKS": str(tmp_path / "marks")}), number(2), name="cut")
    assert devbox.process.wait(15) == -signal.SIGKILL
    del devbox.environ["PYTHONPATH"]
    devbox.start()
    async with connected(devbox.folder) as client:
        details = await client.wait(RunIdentifier(org="me", project="p", domain="d", name="cut"))
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED
    assert P.ACTION_PHASE_FAILED not in [one.phase for one in details.attempts], "it counts as a failure"
    assert len((tmp_path / "marks").read_text().split()) == 1, "it was run a second time"


async def test_an_attempt_that_was_to_be_ended_is_ended_by_the_next_devbox(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        run = await client.run(spec_of("stays", {"MARK": str(tmp_path / "mark")}), number(60))
        pid = int(wait_for(tmp_path / "mark"))
        await client.runs.AbortRun(service.AbortRunRequest(run_id=run))
        assert (await client.wait(run)).status.phase == P.ACTION_PHASE_ABORTED
    devbox.kill()
    assert is_running(pid)
    devbox.start()
    gone(pid)


async def test_what_an_attempt_has_started_is_ended_also_when_no_devbox_saw_its_end(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        await client.run(spec_of("starts_another", {"MARK": str(tmp_path / "mark")}), number(1), name="r")
        pid, other = map(int, wait_for(tmp_path / "mark").split())
    devbox.kill()
    gone(pid)
    assert is_running(other)
    devbox.start()
    gone(other)


async def test_queued_actions_survive_a_kill(devbox, spec_of):
    devbox.start("--places", "1")
    async with connected(devbox.folder) as client:
        blocker = await client.run(spec_of("sleeps"), number(60))
        await client.wait(blocker, phase=P.ACTION_PHASE_RUNNING)
        queued = [await client.run(spec_of("double"), number(n)) for n in range(3)]
        devbox.kill()
    devbox.start("--places", "2")
    async with connected(devbox.folder) as client:
        for n, run in enumerate(queued):
            assert (await client.wait(run)).status.phase == P.ACTION_PHASE_SUCCEEDED
            action = ActionIdentifier(run=run, name="a0")
            answer = await client.data.GetActionData(data.GetActionDataRequest(action_id=action))
            assert answer.outputs.literals[0].value.scalar.primitive.integer == 2 * n
        await client.runs.AbortRun(service.AbortRunRequest(run_id=blocker))


async def test_a_stop_takes_attempts_back_without_a_failure(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        run = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "mark")}), number(4))
        pid = int(wait_for(tmp_path / "mark"))
    devbox.stop()
    assert not Path(f"/proc/{pid}").exists()
    devbox.start()
    async with connected(devbox.folder) as client:
        details = await client.wait(run)
        assert details.status.phase == P.ACTION_PHASE_SUCCEEDED
        assert [one.phase for one in details.attempts] == [P.ACTION_PHASE_ABORTED, P.ACTION_PHASE_SUCCEEDED]


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="limits of another process can be set on Linux only")
async def test_a_database_that_cannot_be_written_ends_it_and_loses_nothing(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        run = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "mark")}), number(1))
        wait_for(tmp_path / "mark")
        # From here on it is as if the disk were full.
        resource.prlimit(devbox.process.pid, resource.RLIMIT_FSIZE, (1024, 1024))
    assert devbox.process.wait(15) == 1
    assert "cannot write its database" in (devbox.home / "devbox.log").read_text()
    devbox.start()
    async with connected(devbox.folder) as client:
        details = await client.wait(run)
        assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_SUCCEEDED, 1)


def test_start_stop_and_delete(tmp_path):
    folder = tmp_path / "devbox"
    assert not lifecycle.stop(folder) and not lifecycle.delete(folder)
    found, started = lifecycle.start(folder)
    try:
        assert started and found.running and found.pid and found.endpoint.startswith("dns:///127.0.0.1:")
        again, started = lifecycle.start(folder)
        assert not started and again == found
        with pytest.raises(lifecycle.DevboxError, match="stop it first"):
            lifecycle.delete(folder)
    finally:
        assert lifecycle.stop(folder)
    assert not lifecycle.standing(folder).running
    assert lifecycle.delete(folder) and not folder.exists()


def test_a_devbox_that_cannot_start_says_why(tmp_path):
    folder = tmp_path / "devbox"
    folder.mkdir()
    (folder / "devbox.db").write_bytes(b"this is no database at all, but it is long enough to be looked at" * 20)
    with pytest.raises(lifecycle.DevboxError, match="not a database"):
        lifecycle.start(folder)


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="attempts are forked on Linux only")
async def test_what_attempts_are_forked_from_is_killed_and_each_goes_on_to_its_end(devbox, spec_of, tmp_path):
    def children(pid: int) -> list[int]:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    devbox.start()
    async with connected(devbox.folder) as client:
        # Until one is ready, attempts start by themselves.
        (zygote,) = children(devbox.process.pid)
        async with asyncio.timeout(30):
            pid = None
            while pid not in children(zygote):
                run = await client.run(spec_of("sleeps", {"MARK": str(tmp_path / "first")}), number(1))
                pid = int(wait_for(tmp_path / "first"))
                (tmp_path / "first").unlink()
        marks = [tmp_path / str(n) for n in range(3)]
        runs = [await client.run(spec_of("sleeps", {"MARK": str(mark)}), number(3)) for mark in marks]
        assert {int(wait_for(mark)) for mark in marks} <= set(children(zygote))
        os.kill(zygote, signal.SIGKILL)
        for one in (run, *runs, await client.run(spec_of("double"))):
            details = await client.wait(one)
            assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_SUCCEEDED, 1)
        async with asyncio.timeout(30):
            while not children(devbox.process.pid) or zygote in children(devbox.process.pid):
                await asyncio.sleep(0.02)
