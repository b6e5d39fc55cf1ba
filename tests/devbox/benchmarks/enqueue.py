"""Enqueue to RUNNING for queued no-op actions, through gRPC and SQLite, with an executor that starts nothing.

Run with ``python tests/devbox/benchmarks/enqueue.py [ACTIONS]``. The client is a process of its own.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio
from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceStub
from flyteidl2.common.identifier_pb2 import ActionIdentifier, RunIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase
from flyteidl2.core.tasks_pb2 import Container, TaskTemplate
from flyteidl2.task.task_definition_pb2 import TaskSpec
from flyteidl2.workflow import run_service_pb2 as service
from flyteidl2.workflow.run_service_pb2_grpc import RunServiceStub

from flyte.devbox._plane import Devbox

AT_ONCE, ROUNDS, AT_LEAST = 64, 3, 1500
SPEC = TaskSpec(task_template=TaskTemplate(type="python", container=Container(image="none", args=["a0"])))


class NoExecutor:
    """Starts nothing that ends."""

    async def open(self):
        pass

    async def close(self):
        pass

    def start(self, order):
        return "1:none"

    def find(self, folder):
        return None

    def is_alive(self, ticket):
        return True

    async def wait(self, ticket, memory_bytes=0):
        await asyncio.Event().wait()

    async def stop(self, ticket, grace_s):
        pass


async def enqueue(
    endpoint: str, token: str, run: RunIdentifier, names: list[str], phase: ActionPhase, base: str
) -> None:
    """Enqueue actions, and wait until each has come to ``phase``."""
    metadata = (("authorization", f"Bearer {token}"),)
    async with grpc.aio.insecure_channel(endpoint) as channel:
        stub, places = ActionsServiceStub(channel), asyncio.Semaphore(AT_ONCE)
        parent = ActionIdentifier(run=run, name="a0")
        watch = stub.WatchForUpdates(actions.WatchForUpdatesRequest(parent_action_id=parent), metadata=metadata)
        there, ready = set(), asyncio.Event()

        async def follow() -> None:
            async for message in watch:
                update = message.action_update
                if message.HasField("control_message"):
                    ready.set()
                elif update.action_id.name in names_set and update.phase == phase:
                    there.add(update.action_id.name)
                    if len(there) == len(names):
                        return

        async def one(name: str) -> None:
            action = actions.Action(action_id=ActionIdentifier(run=run, name=name), parent_action_name="a0")
            action.input_uri, action.run_output_base = f"{base}/inputs.pb", base
            action.task.spec.CopyFrom(SPEC)
            async with places:
                await stub.Enqueue(actions.EnqueueRequest(action=action), metadata=metadata)

        names_set = set(names)
        following = asyncio.create_task(follow())
        await ready.wait()
        begun = time.perf_counter()
        await asyncio.gather(*map(one, names))
        await following
        rate = len(names) / (time.perf_counter() - begun)
        print(f"{rate:,.0f} actions a second from Enqueue to {ActionPhase.Name(phase)} (at least {AT_LEAST:,})")


async def new_run(devbox: Devbox, base: str = "") -> str:
    """The name of a run, whose first action goes on."""
    async with grpc.aio.insecure_channel(devbox.endpoint) as channel:
        request = service.CreateRunRequest(project_id={"organization": "o", "name": "p", "domain": "d"})
        request.task_spec.CopyFrom(SPEC)
        request.run_spec.run_base_dir = base
        metadata = (("authorization", f"Bearer {devbox.token}"),)
        answer = await RunServiceStub(channel).CreateRun(request, metadata=metadata)
        return answer.run.action.id.run.name


async def client(devbox: Devbox, run: str, part: int, count: int, phase: ActionPhase, base: str = "/none") -> None:
    """Let a process of its own enqueue so many actions."""
    words = ("client", devbox.endpoint, devbox.token, run, str(part), str(count), str(int(phase)), base)
    begun = time.process_time()
    process = await asyncio.create_subprocess_exec(sys.executable, sys.argv[0], *words)
    assert await process.wait() == 0
    print(f"  {(time.process_time() - begun) / count * 1000:.2f} ms of the devbox's processor for each")


def as_client(words: list[str]) -> None:
    """What that process does."""
    _, _, place, shown, name, part, many, phase, base = words
    identity = RunIdentifier(org="o", project="p", domain="d", name=name)
    names = [f"n{part}x{n}" for n in range(int(many))]
    asyncio.run(enqueue(place, shown, identity, names, int(phase), base))


async def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        devbox = Devbox(Path(home) / "devbox", executor=NoExecutor(), places=10**9)
        await devbox.start()
        run = await new_run(devbox)
        for number in range(ROUNDS):
            await client(devbox, run, number, count, ActionPhase.ACTION_PHASE_RUNNING)
        await devbox.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["client"]:
        as_client(sys.argv)
    else:
        asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))
