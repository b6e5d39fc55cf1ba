"""Triggers fire under a clock of the test's."""

import asyncio

import pytest
from flyteidl2.common.identifier_pb2 import TriggerName
from flyteidl2.task import task_service_pb2 as tasks
from flyteidl2.task.common_pb2 import FixedRateUnit, Inputs, TriggerAutomationSpec, TriggerAutomationSpecType
from flyteidl2.task.task_definition_pb2 import TaskIdentifier, TaskTrigger
from flyteidl2.trigger import trigger_service_pb2 as triggers
from flyteidl2.workflow import run_service_pb2 as service
from flyteidl2.workflow.run_definition_pb2 import RunSource

from flyte.devbox._plane import Devbox

from .conftest import connected


class ManualClock:
    def __init__(self, at: float) -> None:
        self.at = at

    def time(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    async def sleep(self, delay_s: float) -> None:
        await asyncio.Event().wait()


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

    async def wait(self, ticket, memory_bytes=0):
        await asyncio.Event().wait()

    def is_alive(self, ticket):
        return True

    async def stop(self, ticket, grace_s):
        pass


TASK = TaskIdentifier(org="me", project="p", domain="d", name="shop.double", version="v1")


def trigger(name: str, active: bool = True, **schedule) -> TaskTrigger:
    given = TaskTrigger(name=name, automation_spec=TriggerAutomationSpec(schedule=schedule))
    given.automation_spec.type = TriggerAutomationSpecType.TYPE_SCHEDULE
    given.spec.active = active
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = 1
    given.spec.inputs.CopyFrom(inputs)
    return given


@pytest.fixture
async def plane(tmp_path, spec_of):
    import time

    clock = ManualClock(time.time())
    box = Devbox(tmp_path / "devbox", executor=NoExecutor(), clock=clock)
    await box.start()
    async with connected(box.folder) as client:
        yield box, client, clock, spec_of("double")
    await box.close()


async def test_a_rate_fires_once_for_each_time(plane):
    box, client, clock, spec = plane
    every = trigger("every", rate={"value": 1, "unit": FixedRateUnit.FIXED_RATE_UNIT_MINUTE})
    off = trigger("off", active=False, rate={"value": 1, "unit": FixedRateUnit.FIXED_RATE_UNIT_MINUTE})
    await client.tasks.DeployTask(tasks.DeployTaskRequest(task_id=TASK, spec=spec, triggers=[every, off]))
    assert await box.scheduler.fire_due() == []
    clock.at += 61
    first = await box.scheduler.fire_due()
    assert len(first) == 1 and await box.scheduler.fire_due() == []
    clock.at += 60
    assert len(await box.scheduler.fire_due()) == 1
    # Ten minutes asleep: one run makes up for them.
    clock.at += 600
    assert len(await box.scheduler.fire_due()) == 1 and await box.scheduler.fire_due() == []
    request = service.GetRunDetailsRequest(run_id={"project": "p", "domain": "d", "name": first[0]})
    metadata = (await client.runs.GetRunDetails(request)).details.action.metadata
    assert (metadata.source, metadata.trigger_name) == (RunSource.RUN_SOURCE_SCHEDULE_TRIGGER, "every")


async def test_cron_gives_the_run_its_time(plane):
    box, client, clock, spec = plane
    given = trigger("cron", cron={"expression": "*/5 * * * *", "timezone": "Europe/Berlin"})
    await client.tasks.DeployTask(tasks.DeployTaskRequest(task_id=TASK, spec=spec, triggers=[given]))
    clock.at += 301
    (name,) = await box.scheduler.fire_due()
    request = service.GetRunDetailsRequest(run_id={"project": "p", "domain": "d", "name": name})
    start = (await client.runs.GetRunDetails(request)).details.run_spec.run_start_time.seconds
    assert start % 300 == 0 and 0 <= clock.at - start <= 301


async def test_triggers_are_switched_listed_and_deleted(plane):
    box, client, clock, spec = plane
    given = trigger("one", rate={"value": 1, "unit": FixedRateUnit.FIXED_RATE_UNIT_MINUTE})
    deploy = tasks.DeployTaskRequest(task_id=TASK, spec=spec, triggers=[given])
    await client.tasks.DeployTask(deploy)
    name = TriggerName(org="me", project="p", domain="d", name="one", task_name="shop.double")
    await client.triggers.UpdateTriggers(triggers.UpdateTriggersRequest(names=[name], active=False))
    clock.at += 3600
    assert await box.scheduler.fire_due() == []
    details = (await client.triggers.GetTriggerDetails(triggers.GetTriggerDetailsRequest(name=name))).trigger
    assert not details.spec.active and details.id.revision == 2 and details.spec.task_version == "v1"
    listed = await client.triggers.ListTriggers(triggers.ListTriggersRequest(project_id={"name": "p", "domain": "d"}))
    assert [one.id.name.name for one in listed.triggers] == ["one"]
    # Deploying the task with others prunes this one; without any it would stay.
    deploy.triggers[0].name = "two"
    await client.tasks.DeployTask(deploy)
    listed = await client.triggers.ListTriggers(triggers.ListTriggersRequest(project_id={"name": "p", "domain": "d"}))
    assert [one.id.name.name for one in listed.triggers] == ["two"]
    name.name = "two"
    run = await client.runs.CreateRun(
        service.CreateRunRequest(project_id={"organization": "me", "name": "p", "domain": "d"}, trigger_name=name)
    )
    assert run.run.action.metadata.task.id == TASK
    await client.triggers.DeleteTriggers(triggers.DeleteTriggersRequest(names=[name]))
    listed = await client.triggers.ListTriggers(triggers.ListTriggersRequest(org="me"))
    assert not listed.triggers
