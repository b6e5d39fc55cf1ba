"""Traces and conditions of a container, against a gRPC server that keeps, echoes, loses and refuses them."""

import asyncio
import threading
from pathlib import Path

import grpc
import pytest
from flyteidl2.actions import actions_service_pb2 as pb
from flyteidl2.common.phase_pb2 import ActionPhase as WirePhase
from flyteidl2.core.execution_pb2 import ErrorDocument
from flyteidl2.core.literals_pb2 import Literal
from flyteidl2.task.common_pb2 import Inputs, Outputs

import flyte
from flyte._control import remote_children as children
from flyte._core.context import current
from flyte._definition.task import wait_in_thread
from flyte._wire.faults import execution_error_from
from flyte.errors import ActionAbortedError, ConditionAlreadyExistsError, RuntimeSystemError
from tests.control.test_remote import Plane, acting, serving

made: list[object] = []


@flyte.trace
async def add(x: int, y: int = 1) -> int:
    made.append(("add", x))
    return x + y


@flyte.trace
def add_sync(x: int) -> int:
    made.append(("sync", x))
    return x + 1


@flyte.trace
async def breaks(final: bool) -> int:
    made.append("breaks")
    raise flyte.errors.NonRecoverableError("no") if final else ValueError("not now")


class Keeper(Plane):
    """Keeps what it is told of steps; each is echoed unless it is mute."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.steps: list[pb.Action] = []
        self.mute = False
        self.is_silent = False

    async def WatchForUpdates(self, request, context):
        while self.is_silent:
            await asyncio.sleep(0.02)
        async for message in super().WatchForUpdates(request, context):
            yield message

    async def Enqueue(self, request, context):
        action = request.action
        kind = action.WhichOneof("spec")
        if kind == "task" or self.refusals:
            return await super().Enqueue(request, context)
        if action.action_id.name in self.children:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "it is there")
        self.steps.append(action)
        if kind == "condition":
            await self.tell(action.action_id, WirePhase.ACTION_PHASE_PAUSED)
        elif not self.mute:
            rest = {}
            if action.trace.phase == WirePhase.ACTION_PHASE_FAILED:
                left = Path(action.run_output_base, action.action_id.name, "error.pb").read_bytes()
                rest["error"] = execution_error_from(ErrorDocument.FromString(left))
            await self.tell(action.action_id, action.trace.phase, output_uri=action.trace.outputs.output_uri, **rest)
        return pb.EnqueueResponse()


@pytest.fixture
def plane(tmp_path):
    """Served in a thread of its own: a sync step blocks the event loop that it is called on."""
    made.clear()
    keeper = Keeper(tmp_path)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def there(call):
        return asyncio.run_coroutine_threadsafe(call, loop).result(20)

    server = serving(keeper)
    keeper.port = there(server.__aenter__())
    keeper.say = lambda *args, **rest: there(keeper.tell(*args, **rest))
    yield keeper
    there(server.__aexit__(None, None, None))
    loop.call_soon_threadsafe(loop.stop)
    thread.join(20)
    loop.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(children, "ENQUEUE_PAUSE_S", (0.01, 0.05))
    monkeypatch.setattr(children, "WATCH_PAUSE_S", (0.01, 0.05))


async def test_what_the_control_plane_is_told(plane, tmp_path):
    async with acting(plane, plane.port, tmp_path):
        with flyte.group("sums"):
            assert await add(1) == 2
    (said,) = plane.steps
    assert (said.parent_action_name, said.group, said.trace.name) == ("a0", "sums", "add")
    assert said.trace.phase == WirePhase.ACTION_PHASE_SUCCEEDED
    assert 0 <= said.trace.end_time.ToNanoseconds() - said.trace.start_time.ToNanoseconds() < 5e9
    assert [one.key for one in said.trace.spec.interface.inputs.variables] == ["x", "y"]
    inputs = Inputs.FromString(Path(said.input_uri).read_bytes())
    assert {one.name: one.value.scalar.primitive.integer for one in inputs.literals} == {"x": 1, "y": 1}
    outputs = Outputs.FromString(Path(said.trace.outputs.output_uri).read_bytes())
    assert [(one.name, one.value.scalar.primitive.integer) for one in outputs.literals] == [("o0", 2)]


async def test_a_second_attempt_makes_no_step_again(plane, tmp_path):
    for attempt in range(2):
        async with acting(plane, plane.port, tmp_path) as controller:
            assert await asyncio.gather(add(1), add(1), add(2)) == [2, 2, 3]
            assert add_sync(5) == 6
            parent = current.get()
            assert await asyncio.to_thread(add_sync, 6) == 7
            assert attempt == 0 or len(controller._families[parent.name].ledger) == 0
    assert len(made) == 5 and len(plane.steps) == 5


@pytest.mark.parametrize("way", ["silent", "forgetful"])
async def test_a_step_that_the_control_plane_does_not_speak_of_is_not_made_again(plane, tmp_path, monkeypatch, way):
    """It is silent for longer than is waited for, or knows nothing of them."""
    monkeypatch.setattr(children, "SNAPSHOT_S", 0.3)
    for attempt in range(2):
        async with acting(plane, plane.port, tmp_path, attempt):
            assert [await add(1), add_sync(2), await asyncio.to_thread(add_sync, 3)] == [2, 3, 4]
            plane.is_silent = False
        if attempt == 0:
            plane.is_silent = way == "silent"
            if way != "silent":
                plane.children.clear()
                plane.steps.clear()
    assert len(made) == 3, made
    assert len(plane.steps) == 3  # and it is told of them, if it does not know


async def test_only_what_failed_for_good_fails_again_unmade(plane, tmp_path):
    for _ in range(2):
        async with acting(plane, plane.port, tmp_path):
            with pytest.raises(flyte.errors.NonRecoverableError, match="no"):
                await breaks(True)
            with pytest.raises(ValueError, match="not now"):
                await breaks(False)
    assert len(made) == 3


async def test_a_result_that_is_gone_is_made_again(plane, tmp_path):
    for _ in range(2):
        async with acting(plane, plane.port, tmp_path):
            assert await add(1) == 2
        Path(plane.steps[0].trace.outputs.output_uri).unlink(missing_ok=True)
    assert len(made) == 2


async def test_a_control_plane_that_echoes_nothing_keeps_only_the_end_waiting(plane, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(children, "ECHO_S", 0.5)
    plane.mute = True
    loop = asyncio.get_running_loop()
    async with acting(plane, plane.port, tmp_path):
        await add(0)
        begun = loop.time()
        for x in range(20):
            await add(x)
        assert loop.time() - begun < 0.5
    assert loop.time() - begun < 3
    assert "has not confirmed 21 traces" in caplog.text


async def test_busy_and_lost_requests_are_repeated_also_for_sync_steps(plane, tmp_path):
    codes = grpc.StatusCode
    async with acting(plane, plane.port, tmp_path):
        plane.refusals = [codes.RESOURCE_EXHAUSTED, codes.UNAVAILABLE]
        assert await add(1) == 2
        plane.refusals = [codes.UNAVAILABLE]
        assert add_sync(1) == 2
        plane.refusals = [codes.INVALID_ARGUMENT]
        with pytest.raises(RuntimeSystemError, match="trace 'add' was refused"):
            await add(3)
    assert not [thread for thread in threading.enumerate() if thread.name == "flyte-steps"]


async def test_a_condition_is_answered(plane, tmp_path):
    async with acting(plane, plane.port, tmp_path):
        webhook = flyte.ConditionWebhook("http://localhost/x", {"a": [1]})
        condition = await flyte.new_condition.aio(
            "rate", "How much?", "markdown", data_type=float, description="d", timeout=90, webhook=webhook
        )
        with pytest.raises(ConditionAlreadyExistsError):
            await flyte.new_condition.aio("rate")
        (said,) = plane.steps
        assert (said.condition.name, said.condition.prompt, said.condition.description) == ("rate", "How much?", "d")
        assert (said.condition.timeout.seconds, said.condition.webhook.url) == (90, "http://localhost/x")
        assert Path(said.input_uri).exists()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(condition.wait.aio(), 0.1)
        value = Literal()
        value.scalar.primitive.float_value = 1.5
        plane.say(said.action_id, WirePhase.ACTION_PHASE_SUCCEEDED, value=value)
        assert await condition.wait.aio() == await condition.wait.aio() == 1.5
        again = await flyte.new_condition.aio("rate")
        plane.say(plane.steps[1].action_id, WirePhase.ACTION_PHASE_ABORTED)
        with pytest.raises(ActionAbortedError, match="rate"):
            await again.wait.aio()


async def test_an_answer_of_another_type_is_refused(plane, tmp_path):
    async with acting(plane, plane.port, tmp_path):
        condition = await flyte.new_condition.aio("go")
        value = Literal()
        value.scalar.primitive.string_value = "yes"
        plane.say(plane.steps[0].action_id, WirePhase.ACTION_PHASE_SUCCEEDED, value=value)
        with pytest.raises(RuntimeSystemError, match="type bool, but the control plane gave string_value"):
            await condition.wait.aio()


async def test_a_sync_body_waits_in_its_thread(plane, tmp_path):
    async with acting(plane, plane.port, tmp_path):
        parent = current.get()
        assert await asyncio.to_thread(lambda: wait_in_thread(parent, add(4))) == 5
