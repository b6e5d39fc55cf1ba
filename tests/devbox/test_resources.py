"""What a task says of processors and memory is in force on the devbox."""

import asyncio
import json
import textwrap
import time

import pytest
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.core.tasks_pb2 import K8sPod, Resources, TaskTemplate
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.workflow import run_service_pb2 as service
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from flyte._core.memory import figures_in
from flyte._package.bundle import build_bundle
from flyte.devbox._orders import Needs, needs_of

from .conftest import connected, number

FLOW = """
    import asyncio, json, os, subprocess, sys, time
    from pathlib import Path
    import flyte, flyte.errors

    env = flyte.TaskEnvironment("shop")
    small = flyte.TaskEnvironment("small", resources=flyte.Resources(memory="150Mi"))

    @env.task
    async def sleeps(x: int) -> int:
        if mark := os.environ.get("MARK"):
            Path(mark).write_text(str(os.getpid()))
        await asyncio.sleep(x)
        return x

    @small.task
    def eats(x: int) -> int:
        if mark := os.environ.get("MARK"):
            Path(mark).write_text("1")
            while not Path(mark).with_name("eat").exists():
                time.sleep(0.01)
        held = bytearray(x * 2**20)
        held[:: 4096] = b"x" * len(held[:: 4096])
        time.sleep(0.5)
        return len(held) // 2**20

    @small.task
    def feeds(x: int) -> int:
        program = f"import time; held = b'x' * {x} * 2**20; time.sleep(20)"
        subprocess.run([sys.executable, "-c", program])
        return x

    @env.task
    async def again(x: int) -> str:
        try:
            return json.dumps(await eats.aio(x))
        except flyte.errors.OOMError as error:
            larger = eats.override(resources=flyte.Resources(memory="800Mi"))
            return json.dumps([error.code, error.limit, error.peak, await larger.aio(x)])
"""
MIB = 2**20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("project")
    (folder / "flow.py").write_text(textwrap.dedent(FLOW))
    return str(build_bundle(folder, tmp_path_factory.mktemp("bundles"), style="all").tgz)


def asking(spec, **given):
    """The spec with requests, and limits where there are two values."""
    names = {"cpu": Resources.CPU, "memory": Resources.MEMORY}
    resources = spec.task_template.container.resources
    for name, value in given.items():
        least, most = value if isinstance(value, tuple) else (value, None)
        if least is not None:
            resources.requests.add(name=names[name], value=least)
        if most is not None:
            resources.limits.add(name=names[name], value=most)
    return spec


# Memory ---------------------------------------------------------------------------------------------------------------


async def test_an_attempt_with_too_much_memory_is_ended_and_says_how_much(client, spec_of):
    details = await client.wait(await client.run(asking(spec_of("eats"), memory=("100Mi", "150Mi")), number(400)))
    assert (details.status.phase, details.error_info.code) == (P.ACTION_PHASE_FAILED, "OOMKilled")
    peak, limit = figures_in(details.error_info.message)
    assert limit == 150 * MIB and 150 * MIB < peak < 1000 * MIB
    assert "its limit is 150 MiB" in details.error_info.message
    details = await client.wait(await client.run(asking(spec_of("eats"), memory="600Mi"), number(400)))
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED


async def test_it_uses_up_a_retry_and_what_a_task_starts_counts(client, spec_of):
    spec = asking(spec_of("feeds"), memory="150Mi")
    spec.task_template.metadata.retries.retries = 1
    details = await client.wait(await client.run(spec, number(400)))
    assert [attempt.error_info.code for attempt in details.attempts] == ["OOMKilled", "OOMKilled"]


async def test_a_parent_catches_it_and_gives_more(client, spec_of):
    run = await client.run(spec_of("again"), number(400))
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED, details.error_info
    answer = await client.data.GetActionData(data.GetActionDataRequest(action_id={"run": run, "name": "a0"}))
    code, limit, peak, result = json.loads(answer.outputs.literals[0].value.scalar.primitive.string_value)
    assert (code, limit, result) == ("OOMKilled", 150 * MIB, 400) and peak > limit


async def test_a_limit_holds_after_the_devbox_was_killed(devbox, spec_of, tmp_path):
    devbox.start()
    async with connected(devbox.folder) as client:
        spec = asking(spec_of("eats", {"MARK": str(tmp_path / "mark")}), memory="150Mi")
        run = await client.run(spec, number(400))
        async with asyncio.timeout(20):
            while not (tmp_path / "mark").exists():
                await asyncio.sleep(0.02)
    devbox.kill()
    devbox.start()
    (tmp_path / "eat").touch()
    async with connected(devbox.folder) as client:
        details = await client.wait(run)
    assert (len(details.attempts), details.error_info.code) == (1, "OOMKilled")


# Places ---------------------------------------------------------------------------------------------------------------


async def test_what_is_asked_for_decides_how_many_run(devbox, spec_of):
    devbox.start("--places", "8", "--cpus", "2", "--memory", "1Gi")
    async with connected(devbox.folder) as client:

        async def started(spec):
            run = await client.run(spec, number(60))
            await client.wait(run, phase=P.ACTION_PHASE_RUNNING)
            return run

        async def waits(spec):
            run = await client.run(spec, number(60))
            # Whatever asks for nothing passes it by, so it has had its turn.
            await started(spec_of("sleeps"))
            request = service.GetActionDetailsRequest(action_id={"run": run, "name": "a0"})
            phase = (await client.runs.GetActionDetails(request)).details.status.phase
            assert phase == P.ACTION_PHASE_QUEUED
            return run

        first = await started(asking(spec_of("sleeps"), cpu="1500m"))
        second = await waits(asking(spec_of("sleeps"), cpu="1"))
        await client.runs.AbortRun(service.AbortRunRequest(run_id=first))
        await client.wait(second, phase=P.ACTION_PHASE_RUNNING)
        third = await started(asking(spec_of("sleeps"), memory="600Mi"))
        fourth = await waits(asking(spec_of("sleeps"), memory="500Mi"))
        await client.runs.AbortRun(service.AbortRunRequest(run_id=third))
        await client.wait(fourth, phase=P.ACTION_PHASE_RUNNING)


async def test_what_the_machine_never_has_fails_at_once_with_the_remedy(devbox, spec_of, client):
    for given, said in ({"cpu": "1000"}, "1000 processors"), ({"memory": "100Ti"}, "1.02e+05 GiB of memory"):
        details = await client.wait(await client.run(asking(spec_of("sleeps"), **given), number(0)))
        assert (details.error_info.code, len(details.attempts)) == ("InsufficientResources", 1)
        assert said in details.error_info.message and "flyte start devbox --cpus" in details.error_info.message
    details = await client.wait(await client.run(asking(spec_of("sleeps"), memory="much"), number(0)))
    assert details.error_info.code == "InvalidResources" and "'much'" in details.error_info.message
    devbox.start("--cpus", "1000", "--memory", "100Ti")
    async with connected(devbox.folder) as promised:
        spec = asking(spec_of("sleeps"), cpu="1000", memory="100Ti")
        assert (await promised.wait(await promised.run(spec, number(0)))).status.phase == P.ACTION_PHASE_SUCCEEDED


def test_a_devbox_refuses_a_memory_that_is_none(devbox):
    begun = time.monotonic()
    with pytest.raises(AssertionError, match="not a Kubernetes quantity"):
        devbox.start("--memory", "lots")
    assert time.monotonic() - begun < 20


# Reading --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "needs"),
    [
        ({}, Needs()),
        ({"cpu": "500m"}, Needs(cpus=0.5)),
        ({"memory": "1Gi"}, Needs(memory_bytes=2**30, limit_bytes=2**30)),
        ({"memory": ("1Gi", "2Gi"), "cpu": ("1", "4")}, Needs(1.0, 2**30, 2**31)),
        ({"memory": (None, "2Gi")}, Needs(memory_bytes=2**31, limit_bytes=2**31)),
    ],
)
def test_needs_are_read_from_containers_and_pods(spec_of, given, needs):
    assert needs_of(asking(spec_of("sleeps"), **given).task_template) == needs
    named = {name: value if isinstance(value, tuple) else (value, None) for name, value in given.items()}
    resources = {
        "requests": {name: least for name, (least, _) in named.items() if least},
        "limits": {name: most for name, (_, most) in named.items() if most},
    }
    pod = {"containers": [{"name": "side", "resources": {"limits": {"memory": "9Gi"}}}, {"name": "main"}]}
    pod["containers"][1]["resources"] = resources
    template = TaskTemplate(k8s_pod=K8sPod(pod_spec=ParseDict(pod, Struct()), primary_container_name="main"))
    assert needs_of(template) == needs
