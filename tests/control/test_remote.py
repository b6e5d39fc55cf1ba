"""The controller of a container against a real gRPC server that runs children, loses news and says no."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceServicer, add_ActionsServiceServicer_to_server
from flyteidl2.common.phase_pb2 import ActionPhase as WirePhase
from flyteidl2.core.execution_pb2 import ExecutionError
from flyteidl2.task.common_pb2 import Inputs
from flyteidl2.workflow.state_service_pb2 import ActionUpdate, ControlMessage

import flyte
from flyte._control import remote_children as children
from flyte._control.remote import RemoteController
from flyte._core.code_bundle import CodeBundle, SerializationContext
from flyte._core.context import Execution, TaskContext, current
from flyte._wire.values import arguments_from, outputs_from
from flyte.errors import ActionAbortedError, MaxRuntimeExceededError, RuntimeSystemError, RuntimeUserError
from flyte.remote._channel import NoCredentials
from flyte.remote._client import Client
from flyte.remote._connection import Connection
from flyte.remote._endpoint import parse_endpoint
from flyte.remote._enqueue import ActionsClient

env = flyte.TaskEnvironment("away")


@env.task
async def square(x: int) -> int:
    return x * x


@env.task
async def fails(x: int) -> int:
    raise ValueError(f"no {x}")


@env.task
async def hangs(x: int) -> int:
    await asyncio.sleep(3600)
    return x


TASKS = {task.name: task for task in (square, fails, hangs)}


class Plane(ActionsServiceServicer):
    """Runs the children in this process; what it does wrong is set by the tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: dict[str, ActionUpdate] = {}
        self.started: list[str] = []
        self.aborted: list[str] = []
        self.watchers: list[asyncio.Queue[Any]] = []
        self.refusals: list[grpc.StatusCode] = []
        self.deaf = 0
        """So many streams end right after their snapshot."""
        self.repeat = 1
        self.outcome: Any = None
        self.streams = 0
        self.runs: list[asyncio.Task[None]] = []

    async def Enqueue(self, request, context):
        if self.refusals:
            await context.abort(self.refusals.pop(0), "the test says no")
        action = request.action
        name = action.action_id.name
        if name in self.children:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "it is there")
        self.started.append(name)
        await self.tell(action.action_id, WirePhase.ACTION_PHASE_QUEUED)
        self.runs.append(asyncio.create_task(self.run(action)))
        return pb.EnqueueResponse()

    async def run(self, action):
        task = TASKS[action.task.id.name]
        inputs = Inputs.FromString(Path(action.input_uri).read_bytes())
        arguments = await arguments_from(task.interface, inputs)
        out = self.folder / "elsewhere" / action.action_id.name / "1"
        out.mkdir(parents=True)
        await self.tell(action.action_id, WirePhase.ACTION_PHASE_RUNNING, output_uri=str(out))
        if self.outcome is not None:
            await self.tell(action.action_id, **self.outcome)
            return
        try:
            result = await task.func(**arguments)
        except ValueError as error:
            said = ExecutionError(code="ValueError", message=str(error), kind=ExecutionError.USER)
            await self.tell(action.action_id, WirePhase.ACTION_PHASE_FAILED, error=said)
            return
        (out / "outputs.pb").write_bytes((await outputs_from(task.interface, result)).SerializeToString())
        await self.tell(action.action_id, WirePhase.ACTION_PHASE_SUCCEEDED, output_uri=str(out))

    async def tell(self, action_id, phase, **rest):
        update = ActionUpdate(action_id=action_id, phase=phase, **rest)
        self.children[action_id.name] = update
        for _ in range(self.repeat):
            for watcher in self.watchers:
                watcher.put_nowait(update)

    async def WatchForUpdates(self, request, context):
        self.streams += 1
        news: asyncio.Queue[Any] = asyncio.Queue()
        self.watchers.append(news)
        try:
            for update in list(self.children.values()):
                yield pb.WatchForUpdatesResponse(action_update=update)
            yield pb.WatchForUpdatesResponse(control_message=ControlMessage(sentinel=True))
            if self.deaf:
                self.deaf -= 1
                self.watchers.remove(news)
                await asyncio.sleep(0.2)
                return
            while True:
                yield pb.WatchForUpdatesResponse(action_update=await news.get())
        finally:
            if news in self.watchers:
                self.watchers.remove(news)

    async def Abort(self, request, context):
        self.aborted.append(request.action_id.name)
        return pb.AbortResponse()


@contextlib.asynccontextmanager
async def serving(plane, port=0):
    server = grpc.aio.server(ThreadPoolExecutor(1))
    add_ActionsServiceServicer_to_server(plane, server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


@contextlib.asynccontextmanager
async def acting(plane, port, tmp_path, attempt=0):
    """The context of action a0, whose children the plane runs."""
    there = Connection(endpoint=parse_endpoint(f"127.0.0.1:{port}"), insecure=True)
    client = ActionsClient(Client(there, NoCredentials(), retried=False))
    sctx = SerializationContext(
        version="v1",
        project="p",
        domain="d",
        org="o",
        code_bundle=CodeBundle(computed_version="v1", pkl="unused.pkl.gz"),
    )
    controller = RemoteController(client, sctx)
    execution = Execution(
        run_name="run1",
        controller=controller,
        loop=asyncio.get_running_loop(),
        mode="remote",
        project="p",
        domain="d",
        org="o",
        version="v1",
        run_base_dir=str(tmp_path / "base"),
    )
    scope = TaskContext(execution, None, "", None)
    token = current.set(TaskContext(execution, scope, "away.main", "a0", attempt_number=attempt))
    try:
        yield controller
    finally:
        current.reset(token)
        await controller.stop()
        await client.close()


@pytest.fixture
async def plane(tmp_path):
    made = Plane(tmp_path)
    async with serving(made) as port, acting(made, port, tmp_path):
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(children, "ENQUEUE_PAUSE_S", (0.01, 0.05))
    monkeypatch.setattr(children, "WATCH_PAUSE_S", (0.01, 0.05))


async def test_children_give_their_results(plane):
    assert await square(3) == 9
    assert await asyncio.gather(*[square(i) for i in range(50)]) == [i * i for i in range(50)]
    assert plane.streams == 1


async def test_a_failure_has_its_code_and_message(plane):
    with pytest.raises(RuntimeUserError, match="no 4") as caught:
        await fails(4)
    assert caught.value.code == "ValueError"
    assert "action " in caught.value.__notes__[-1]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({"phase": WirePhase.ACTION_PHASE_ABORTED}, ActionAbortedError),
        (
            {
                "phase": WirePhase.ACTION_PHASE_TIMED_OUT,
                "error": ExecutionError(code="MAX_RUNTIME_EXCEEDED", message="too long"),
            },
            MaxRuntimeExceededError,
        ),
        ({"phase": WirePhase.ACTION_PHASE_FAILED}, RuntimeSystemError),
    ],
)
async def test_other_ends(plane, outcome, expected):
    plane.outcome = outcome
    with pytest.raises(expected):
        await square(1)


async def test_a_parent_that_is_started_again_starts_no_child_twice(tmp_path):
    made = Plane(tmp_path)
    async with serving(made) as port:
        async with acting(made, port, tmp_path):
            assert await asyncio.gather(square(1), square(1), square(2)) == [1, 1, 4]
        assert len(made.started) == 3
        async with acting(made, port, tmp_path):
            assert await asyncio.gather(square(1), square(1), square(2), square(3)) == [1, 1, 4, 9]
        assert len(made.started) == len(set(made.started)) == 4


async def test_busy_and_lost_requests_are_repeated(plane):
    codes = grpc.StatusCode
    plane.refusals = [codes.RESOURCE_EXHAUSTED, codes.UNAVAILABLE, codes.DEADLINE_EXCEEDED, codes.INTERNAL]
    assert await square(5) == 25


async def test_a_refusal_is_final(plane):
    plane.refusals = [grpc.StatusCode.INVALID_ARGUMENT]
    with pytest.raises(RuntimeSystemError, match="the test says no"):
        await square(5)
    plane.refusals = [grpc.StatusCode.ABORTED]
    with pytest.raises(RuntimeSystemError, match="was aborted"):
        await square(5)


async def test_news_that_is_lost_comes_with_the_next_snapshot(plane):
    plane.deaf = 3
    assert await asyncio.gather(*[square(i) for i in range(10)]) == [i * i for i in range(10)]
    assert plane.streams > 1


async def test_news_that_is_repeated_changes_nothing(plane):
    plane.repeat = 5
    assert await asyncio.gather(*[square(i) for i in range(10)]) == [i * i for i in range(10)]


async def test_a_stream_that_falls_silent_is_opened_again(plane, monkeypatch):
    monkeypatch.setattr(children, "IDLE_S", 0.3)
    calling = asyncio.create_task(square(6))
    await asyncio.sleep(0.1)
    plane.watchers.clear()  # whatever is said now is heard by nobody
    waiting = asyncio.create_task(square(7))
    assert await asyncio.wait_for(asyncio.gather(calling, waiting), 10) == [36, 49]


async def test_a_server_that_restarts_is_found_again(tmp_path):
    made = Plane(tmp_path)
    async with serving(made) as port:
        pass
    async with acting(made, port, tmp_path):
        calling = asyncio.create_task(square(8))
        await asyncio.sleep(0.3)
        assert not calling.done()
        async with serving(made, port):
            assert await asyncio.wait_for(calling, 20) == 64


async def test_a_cancelled_call_aborts_its_child(plane):
    calling = asyncio.create_task(hangs(1))
    while not plane.started:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert plane.aborted == plane.started


async def test_a_watch_that_never_works_fails_the_call_and_says_why(tmp_path, monkeypatch):
    monkeypatch.setattr(children, "WATCH_TRIES", 4)
    monkeypatch.setattr(children, "ENQUEUE_TRIES", 3)
    monkeypatch.setattr(children, "SNAPSHOT_S", 0.2)
    made = Plane(tmp_path)
    async with serving(made) as port:
        pass
    async with acting(made, port, tmp_path):
        with pytest.raises(RuntimeSystemError, match=r"after \d tries"):
            await asyncio.wait_for(square(1), 30)
