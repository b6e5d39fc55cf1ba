"""Tasks run on a real devbox, by real processes."""

import pytest
from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.dataproxy.dataproxy_service_pb2 import GetActionDataRequest, TailLogsRequest
from flyteidl2.task.common_pb2 import Inputs

pytestmark = pytest.mark.asyncio


def number(x: int) -> Inputs:
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = x
    return inputs


async def test_a_task_runs(client, spec_of):
    run = await client.run(spec_of("double"))
    assert run.name.startswith("r") and (run.org, run.project, run.domain) == ("me", "p", "d")
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED, details
    action = ActionIdentifier(run=run, name="a0")
    data = await client.data.GetActionData(GetActionDataRequest(action_id=action))
    assert data.inputs == number(21)
    assert data.outputs.literals[0].value.scalar.primitive.integer == 42
    lines = [
        line.message
        async for answer in client.data.TailLogs(TailLogsRequest(action_id=action, attempt=1))
        for logs in answer.logs
        for line in logs.lines
    ]
    assert lines == ["doubling 21"]
