"""Tasks run on a real devbox, by real processes."""

import asyncio
import os
import time
from pathlib import Path

import grpc
import httpx
import pytest
from flyteidl2.actions import actions_service_pb2 as actions
from flyteidl2.common.identifier_pb2 import ActionIdentifier
from flyteidl2.common.list_pb2 import Filter, ListRequest
from flyteidl2.common.phase_pb2 import ActionPhase as P
from flyteidl2.common.run_pb2 import Relation, RelationType
from flyteidl2.core.catalog_pb2 import CatalogCacheStatus
from flyteidl2.core.literals_pb2 import KeyValuePair
from flyteidl2.core.security_pb2 import Secret
from flyteidl2.core.types_pb2 import LiteralType, SimpleType
from flyteidl2.dataproxy import dataproxy_service_pb2 as data
from flyteidl2.secret import payload_pb2 as secrets
from flyteidl2.task.common_pb2 import Inputs, Outputs
from flyteidl2.workflow import run_service_pb2 as service
from flyteidl2.workflow.run_definition_pb2 import TaskAction, TraceAction
from flyteidl2.workflow.run_service_pb2_grpc import RunServiceStub

from flyte.devbox._plane import Devbox
from flyte.devbox.executors.process import ProcessExecutor

from .conftest import connected


def number(x: int) -> Inputs:
    inputs = Inputs()
    inputs.literals.add(name="x").value.scalar.primitive.integer = x
    return inputs


def root(run) -> ActionIdentifier:
    return ActionIdentifier(run=run, name="a0")


async def lines_of(client, run, attempt=1, name="a0") -> list[str]:
    request = data.TailLogsRequest(action_id=ActionIdentifier(run=run, name=name), attempt=attempt)
    return [
        line.message async for answer in client.data.TailLogs(request) for logs in answer.logs for line in logs.lines
    ]


async def result_of(client, run, name="a0"):
    action = ActionIdentifier(run=run, name=name)
    return (await client.data.GetActionData(data.GetActionDataRequest(action_id=action))).outputs.literals[0].value


async def eventually(check, timeout_s=15.0):
    until = time.monotonic() + timeout_s
    while True:
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < until, "it did not happen in time"
        await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


# Leaf tasks -----------------------------------------------------------------------------------------------------------


async def test_a_task_runs(client, spec_of):
    run = await client.run(spec_of("double"))
    assert run.name.startswith("r") and (run.org, run.project, run.domain) == ("me", "p", "d")
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED, details
    answer = await client.data.GetActionData(data.GetActionDataRequest(action_id=root(run)))
    assert answer.inputs == number(21)
    assert answer.outputs.literals[0].value.scalar.primitive.integer == 42
    assert answer.outputs_uri.endswith("/a0/1/outputs.pb")
    assert await lines_of(client, run) == ["doubling 21"]


async def test_a_failure_is_told_with_its_code_and_message(client, spec_of):
    run = await client.run(spec_of("fails"))
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_FAILED
    assert (details.error_info.code, details.error_info.message.splitlines()[0]) == ("ValueError", "bad 21")
    assert len(details.attempts) == 1 and details.attempts[0].error_info.code == "ValueError"
    assert any("ValueError: bad 21" in line for line in await lines_of(client, run))
    answer = await client.data.GetActionData(data.GetActionDataRequest(action_id=root(run)))
    assert not answer.HasField("outputs") or not answer.outputs.literals


async def test_retries_wait_and_each_attempt_is_told(client, spec_of):
    spec = spec_of("third_time")
    retries = spec.task_template.metadata.retries
    retries.retries = 2
    retries.backoff.base.FromMilliseconds(200)
    retries.backoff.factor = 2
    retries.backoff.cap.FromSeconds(10)
    run = await client.run(spec)
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED
    assert [attempt.attempt for attempt in details.attempts] == [1, 2, 3]
    ends = [attempt.end_time.ToMilliseconds() for attempt in details.attempts]
    starts = [attempt.start_time.ToMilliseconds() for attempt in details.attempts]
    assert starts[1] - ends[0] >= 195 and starts[2] - ends[1] >= 395
    assert (await result_of(client, run)).scalar.primitive.integer == 2


async def test_what_cannot_be_recovered_is_not_retried(client, spec_of):
    spec = spec_of("final")
    spec.task_template.metadata.retries.retries = 5
    details = await client.wait(await client.run(spec))
    assert (details.status.phase, len(details.attempts)) == (P.ACTION_PHASE_FAILED, 1)


async def test_max_runtime_ends_the_process(client, spec_of, tmp_path):
    spec = spec_of("sleeps", {"MARK": str(tmp_path / "mark")})
    spec.task_template.metadata.timeout.FromMilliseconds(1500)
    run = await client.run(spec, number(60))
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_TIMED_OUT
    assert details.error_info.code == "MAX_RUNTIME_EXCEEDED"
    pid = int((tmp_path / "mark").read_text())
    await eventually(lambda: not is_alive(pid), 8)


async def test_deadline_counts_everything(client, spec_of):
    spec = spec_of("fails")
    spec.task_template.metadata.retries.retries = 5
    spec.task_template.metadata.retries.backoff.base.FromSeconds(30)
    spec.task_template.metadata.timeouts.deadline.FromSeconds(20)
    details = await client.wait(await client.run(spec))
    assert (details.status.phase, details.error_info.code) == (P.ACTION_PHASE_TIMED_OUT, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize(("number_", "origin"), [(9, "Interrupted"), (11, "ProcessEnded")])
async def test_a_process_that_dies_leaves_a_clear_error(client, spec_of, number_, origin):
    run = await client.run(spec_of("dies"), number(number_))
    details = await client.wait(run)
    assert details.status.phase == P.ACTION_PHASE_FAILED
    assert details.error_info.code.endswith(origin)
    # What was nobody's fault is tried again, up to a limit of its own.
    assert len(details.attempts) == (4 if number_ == 9 else 1)


async def test_a_task_that_needs_an_image_is_refused_clearly(client, spec_of):
    spec = spec_of("double")
    del spec.task_template.container.args[:]
    spec.task_template.container.command.extend(["echo", "hi"])
    details = await client.wait(await client.run(spec))
    assert details.error_info.code == "UnsupportedByDevbox"
    assert "without containers" in details.error_info.message


async def test_a_variable_that_no_process_can_be_given_fails_the_action(client, spec_of):
    envs = {"values": [KeyValuePair(key="COLOUR", value="red\0")]}
    details = await client.wait(await client.run(spec_of("double"), envs=envs))
    assert (details.status.phase, details.error_info.code) == (P.ACTION_PHASE_FAILED, "InvalidEnvironment")


async def test_run_variables_and_secrets(client, spec_of):
    spec = spec_of("secret")
    spec.task_template.security_context.secrets.add(group="api", key="key")
    identity = {"name": "api_key", "project": "p", "domain": "d"}
    await client.secrets.CreateSecret(secrets.CreateSecretRequest(id=identity, secret_spec={"string_value": "s3cr3t"}))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.secrets.CreateSecret(secrets.CreateSecretRequest(id=identity, secret_spec={"string_value": "x"}))
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
    told = await client.secrets.GetSecret(secrets.GetSecretRequest(id=identity))
    assert b"s3cr3t" not in told.SerializeToString()
    spec.task_template.security_context.secrets[0].mount_requirement = Secret.MountType.ENV_VAR
    run = await client.run(spec, envs={"values": [KeyValuePair(key="COLOUR", value="red"), {"key": "API_KEY"}]})
    assert (await client.wait(run)).status.phase == P.ACTION_PHASE_SUCCEEDED
    assert (await result_of(client, run)).scalar.primitive.string_value == "s3cr3tred"


async def test_a_report_is_given_by_a_signed_url(client, spec_of):
    run = await client.run(spec_of("reports"))
    await client.wait(run)
    request = data.CreateDownloadLinkRequest(
        artifact_type=data.ArtifactType.ARTIFACT_TYPE_REPORT, action_attempt_id={"action_id": root(run), "attempt": 1}
    )
    url = (await client.data.CreateDownloadLink(request)).pre_signed_urls.signed_url[0]
    async with httpx.AsyncClient(trust_env=False) as http:
        assert "<p>said</p>" in (await http.get(url)).text
        assert (await http.get(url.replace("from=", "from=x"))).status_code == 403


# Children -------------------------------------------------------------------------------------------------------------


def child(run, name, spec, inputs_uri, base, parent="a0", cache_key=None) -> actions.EnqueueRequest:
    task = TaskAction(spec=spec)
    if cache_key is not None:
        task.cache_key.value = cache_key
    return actions.EnqueueRequest(
        action={
            "action_id": ActionIdentifier(run=run, name=name),
            "parent_action_name": parent,
            "input_uri": inputs_uri,
            "run_output_base": base,
            "task": task,
        }
    )


@pytest.fixture
async def parent(client, spec_of, tmp_path):
    """A parent that runs, and what its children need."""
    run = await client.run(spec_of("sleeps"), number(60))
    await client.wait(run, phase=P.ACTION_PHASE_RUNNING)
    (tmp_path / "inputs.pb").write_bytes(number(4).SerializeToString())
    yield run, str(tmp_path / "inputs.pb"), str(tmp_path / "base")
    await client.runs.AbortRun(service.AbortRunRequest(run_id=run))


async def test_an_action_is_queued_also_when_its_caller_is_cut_off(client, spec_of, parent):
    """At whatever moment: what is not refused when it is asked for again has ended, or will."""
    spec = spec_of("double")
    del spec.task_template.container.args[:]
    spec.task_template.container.args.append("nothing")  # no process is made, so an attempt fails at once
    run, inputs_uri, base = parent
    requests = [child(run, f"n{n}", spec, inputs_uri, base) for n in range(200)]

    async def cut(request, after_s: float) -> None:
        call = asyncio.ensure_future(client.actions.Enqueue(request))
        await asyncio.sleep(after_s)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)

    for start in range(0, 200, 20):
        await asyncio.gather(*(cut(one, 0.0005 * n) for n, one in enumerate(requests[start : start + 20])))
    said = await asyncio.gather(*map(client.actions.Enqueue, requests), return_exceptions=True)
    refused = [one.code() for one in said if isinstance(one, grpc.aio.AioRpcError)]
    assert len(refused) > 20 and set(refused) == {grpc.StatusCode.ALREADY_EXISTS}
    async with asyncio.timeout(20):
        for n in range(200):
            assert (await client.wait(run, f"n{n}")).status.phase == P.ACTION_PHASE_FAILED


async def test_children_are_watched_until_they_end(client, spec_of, parent):
    run, inputs_uri, base = parent
    watch = client.actions.WatchForUpdates(actions.WatchForUpdatesRequest(parent_action_id=root(run)))
    seen = []
    async for message in watch:
        if message.HasField("control_message"):
            assert message.control_message.sentinel
            await client.actions.Enqueue(child(run, "one", spec_of("double"), inputs_uri, base))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.actions.Enqueue(child(run, "one", spec_of("double"), inputs_uri, base))
            assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
            continue
        update = message.action_update
        if update.action_id.name == "one":
            seen.append(update.phase)
            if update.phase == P.ACTION_PHASE_SUCCEEDED:
                outputs = Outputs.FromString(Path(update.output_uri, "outputs.pb").read_bytes())
                assert outputs.literals[0].value.scalar.primitive.integer == 8
                break
    assert seen[0] == P.ACTION_PHASE_QUEUED and seen == sorted(seen)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.actions.Enqueue(child(run, "one", spec_of("fails"), inputs_uri, base))
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert (await client.wait(run, "one")).status.phase == P.ACTION_PHASE_SUCCEEDED
    enriched = {}
    async for message in client.runs.WatchActions(service.WatchActionsRequest(run_id=run)):
        enriched = {one.action.id.name: one for one in message.enriched_actions}
        break
    assert enriched["a0"].children_phase_counts == {P.ACTION_PHASE_SUCCEEDED: 1} and enriched["one"].meets_filter
    # Another watcher, such as a restarted parent, finds it in the snapshot.
    again = client.actions.WatchForUpdates(actions.WatchForUpdatesRequest(parent_action_id=root(run)))
    snapshot = {}
    async for message in again:
        if message.HasField("control_message"):
            break
        snapshot[message.action_update.action_id.name] = message.action_update
    assert snapshot["one"].phase == P.ACTION_PHASE_SUCCEEDED and snapshot["one"].output_uri


async def test_results_are_cached_by_their_key(client, spec_of, parent):
    run, inputs_uri, base = parent
    spec = spec_of("double")
    spec.task_template.metadata.discoverable = True
    await client.actions.Enqueue(child(run, "miss", spec, inputs_uri, base, cache_key="k1"))
    assert (await client.wait(run, "miss")).status.cache_status == CatalogCacheStatus.CACHE_MISS
    await client.actions.Enqueue(child(run, "hit", spec, inputs_uri, base, cache_key="k1"))
    details = await client.wait(run, "hit")
    assert details.status.cache_status == CatalogCacheStatus.CACHE_HIT
    assert (await result_of(client, run, "hit")).scalar.primitive.integer == 8
    # The first actions of runs share keys made of their inputs.
    spec.task_template.metadata.discovery_version = "other"
    await client.wait(await client.run(spec))
    second = await client.run(spec)
    assert (await client.wait(second)).status.cache_status == CatalogCacheStatus.CACHE_HIT
    third = await client.run(spec, cache_config={"overwrite_cache": True})
    assert (await client.wait(third)).status.cache_status == CatalogCacheStatus.CACHE_SKIPPED


async def test_the_same_result_is_made_once_if_it_is_serialized(client, spec_of, parent):
    run, inputs_uri, base = parent
    spec = spec_of("double")
    spec.task_template.metadata.discoverable = spec.task_template.metadata.cache_serializable = True
    names = ["s1", "s2", "s3"]
    for name in names:
        await client.actions.Enqueue(child(run, name, spec, inputs_uri, base, cache_key="k2"))
    found = [(await client.wait(run, name)).status.cache_status for name in names]
    assert sorted(found) == [CatalogCacheStatus.CACHE_MISS, CatalogCacheStatus.CACHE_HIT, CatalogCacheStatus.CACHE_HIT]


async def test_abort_ends_a_whole_tree(client, spec_of, tmp_path):
    marks = [tmp_path / "parent", tmp_path / "child"]
    run = await client.run(spec_of("sleeps", {"MARK": str(marks[0])}), number(60))
    await client.wait(run, phase=P.ACTION_PHASE_RUNNING)
    (tmp_path / "inputs.pb").write_bytes(number(60).SerializeToString())
    spec = spec_of("sleeps", {"MARK": str(marks[1])})
    await client.actions.Enqueue(child(run, "kid", spec, str(tmp_path / "inputs.pb"), str(tmp_path / "base")))
    await eventually(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    pids = [int(mark.read_text()) for mark in marks]
    await client.runs.AbortRun(service.AbortRunRequest(run_id=run, reason="enough"))
    for name in ("a0", "kid"):
        details = await client.wait(run, name)
        assert (details.status.phase, details.abort_info.reason) == (P.ACTION_PHASE_ABORTED, "enough")
    await eventually(lambda: not any(map(is_alive, pids)), 8)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.actions.Enqueue(child(run, "late", spec, str(tmp_path / "inputs.pb"), str(tmp_path / "base")))
    assert refused.value.code() == grpc.StatusCode.ABORTED


async def test_what_a_parent_leaves_running_ends_with_the_action_above(client, spec_of, parent):
    run, inputs_uri, base = parent
    Path(inputs_uri).write_bytes(number(1).SerializeToString())
    long = str(Path(inputs_uri).with_name("long"))
    os.makedirs(long)
    Path(long, "inputs.pb").write_bytes(number(60).SerializeToString())
    await client.actions.Enqueue(child(run, "middle", spec_of("sleeps"), inputs_uri, base))
    await client.actions.Enqueue(child(run, "low", spec_of("sleeps"), f"{long}/inputs.pb", base, parent="middle"))
    await client.wait(run, "low", phase=P.ACTION_PHASE_RUNNING)
    assert (await client.wait(run, "middle")).status.phase == P.ACTION_PHASE_SUCCEEDED
    await asyncio.sleep(0.2)
    details = await client.wait(run, "low", phase=P.ACTION_PHASE_RUNNING)
    assert details.status.phase == P.ACTION_PHASE_RUNNING
    await client.runs.AbortAction(service.AbortActionRequest(action_id=root(run), reason="enough"))
    assert (await client.wait(run, "low")).status.phase == P.ACTION_PHASE_ABORTED


async def test_traces_are_kept_and_echoed(client, parent):
    run, inputs_uri, base = parent
    trace = TraceAction(name="step", phase=P.ACTION_PHASE_SUCCEEDED, outputs={"output_uri": "/x/outputs.pb"})
    request = actions.EnqueueRequest(
        action={
            "action_id": ActionIdentifier(run=run, name="t1"),
            "parent_action_name": "a0",
            "input_uri": inputs_uri,
            "run_output_base": base,
            "trace": trace,
        }
    )
    await client.actions.Enqueue(request)
    details = await client.wait(run, "t1")
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED
    watch = client.actions.WatchForUpdates(actions.WatchForUpdatesRequest(parent_action_id=root(run)))
    async for message in watch:
        if message.action_update.action_id.name == "t1":
            assert message.action_update.output_uri == "/x/outputs.pb"
            break


async def test_a_condition_waits_for_its_answer(client, parent):
    run, inputs_uri, base = parent
    request = actions.EnqueueRequest(
        action={
            "action_id": ActionIdentifier(run=run, name="c1"),
            "parent_action_name": "a0",
            "input_uri": inputs_uri,
            "run_output_base": base,
            "condition": {"name": "go", "type": LiteralType(simple=SimpleType.BOOLEAN), "prompt": "Go?"},
        }
    )
    await client.actions.Enqueue(request)
    identity = ActionIdentifier(run=run, name="c1")
    await client.wait(run, "c1", phase=P.ACTION_PHASE_PAUSED)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.runs.SignalEvent(service.SignalEventRequest(action_id=identity, payload={"int_value": 1}))
    assert "takes a value of type bool, not int" in refused.value.details()
    yes = service.SignalEventRequest(action_id=identity, payload={"bool_value": True})
    await client.runs.SignalEvent(yes)
    details = await client.wait(run, "c1")
    assert details.status.phase == P.ACTION_PHASE_SUCCEEDED and details.signal_info.output.scalar.primitive.boolean
    await client.runs.SignalEvent(yes)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.runs.SignalEvent(service.SignalEventRequest(action_id=identity, payload={"bool_value": False}))
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    request.action.action_id.name = "c2"
    request.action.condition.timeout.FromMilliseconds(200)
    await client.actions.Enqueue(request)
    assert (await client.wait(run, "c2")).status.phase == P.ACTION_PHASE_TIMED_OUT


async def test_a_recovered_run_takes_what_the_first_had(client, spec_of, parent):
    run, inputs_uri, base = parent
    await client.actions.Enqueue(child(run, "part", spec_of("double"), inputs_uri, base))
    first = await client.wait(run, "part")
    relation = Relation(related_to=run, relation_type=RelationType.RELATION_TYPE_RECOVER)
    again = await client.run(spec_of("sleeps"), number(60), relation=relation)
    await client.wait(again, phase=P.ACTION_PHASE_RUNNING)
    await client.actions.Enqueue(child(again, "part", spec_of("double"), inputs_uri, base))
    details = await client.wait(again, "part")
    assert details.status.phase == P.ACTION_PHASE_RECOVERED
    assert details.metadata.recovered_from == ActionIdentifier(run=run, name="part")
    assert details.attempts[0].outputs.output_uri == first.attempts[0].outputs.output_uri
    forced = await client.run(
        spec_of("sleeps"), number(60), relation=relation, recover={"force_rerun_actions": ["part"]}
    )
    await client.wait(forced, phase=P.ACTION_PHASE_RUNNING)
    await client.actions.Enqueue(child(forced, "part", spec_of("double"), inputs_uri, base))
    assert (await client.wait(forced, "part")).status.phase == P.ACTION_PHASE_SUCCEEDED
    for one in (again, forced):
        await client.runs.AbortRun(service.AbortRunRequest(run_id=one))


async def test_a_mistake_of_an_executor_ends_the_action(tmp_path, spec_of):
    """It is ours, not the task's; but nobody is to wait for it for ever."""

    class Mistaken(ProcessExecutor):
        def start(self, order):
            raise ZeroDivisionError("a mistake")

    box = Devbox(tmp_path / "devbox", executor=Mistaken(warm=False))
    await box.start()
    try:
        async with connected(box.folder) as own, asyncio.timeout(20):
            details = await own.wait(await own.run(spec_of("double")))
    finally:
        await box.close()
    assert details.status.phase == P.ACTION_PHASE_FAILED
    assert details.error_info.code.endswith("CannotStart") and "a mistake" in details.error_info.message


# Lists and refusals ---------------------------------------------------------------------------------------------------


async def test_lists_are_filtered_ordered_and_paged(client, spec_of):
    names = [f"list-{n}" for n in range(3)]
    for name in names:
        await client.wait(await client.run(spec_of("double", version="lists"), name=name))
    mine = [Filter(field="task_version", values=["lists"])]

    async def listed(**request):
        answer = await client.runs.ListRuns(
            service.ListRunsRequest(
                request=ListRequest(filters=mine, **request), project_id={"name": "p", "domain": "d"}
            )
        )
        return [one.action.id.run.name for one in answer.runs], answer.token

    assert await listed() == (names[::-1], "")
    first, token = await listed(limit=2, sort_by={"key": "created_at", "direction": "ASCENDING"})
    assert first == names[:2]
    assert (await listed(limit=2, token=token, sort_by={"key": "created_at", "direction": "ASCENDING"}))[0] == names[2:]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await listed(sort_by={"key": "nothing; DROP TABLE run"})
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_run_name_is_taken_once(client, spec_of):
    await client.run(spec_of("double"), name="once")
    for name, code in {
        "once": grpc.StatusCode.ALREADY_EXISTS,
        "No Name": grpc.StatusCode.INVALID_ARGUMENT,
    }.items():
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.run(spec_of("double"), name=name)
        assert refused.value.code() == code


async def test_a_call_that_is_repeated_creates_one_run(client, spec_of):
    request = service.CreateRunRequest(task_spec=spec_of("double"), inputs=number(1))
    request.project_id.organization, request.project_id.name, request.project_id.domain = "me", "p", "d"
    stub = RunServiceStub(client.channel)
    said = [
        await stub.CreateRun(request, metadata=(*client.metadata, ("x-request-id", request_id)), timeout=30)
        for request_id in ("one-call", "one-call", "another")
    ]
    names = [one.run.action.id.run.name for one in said]
    assert names[0] == names[1] != names[2]


async def test_uploads_are_signed_checked_and_whole(client, shared_home):
    from base64 import b64encode
    from hashlib import md5

    content = os.urandom(300_000)
    digest = md5(content).digest()
    request = data.CreateUploadLocationRequest(project="p", domain="d", filename="code.tgz", content_md5=digest)
    place = await client.data.CreateUploadLocation(request)
    headers = {"Content-MD5": b64encode(digest).decode()}
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.put(place.signed_url, content=content[:-1] + b"x", headers=headers)).status_code == 400
        path = Path(place.native_url.removeprefix("file://"))
        assert not path.exists() and list(path.parent.iterdir()) == []
        assert (await http.put(place.signed_url, content=content, headers=headers)).status_code == 200
        assert path.read_bytes() == content and path.stat().st_mode & 0o077 == 0
        assert (await http.get(place.signed_url)).status_code == 403
        assert (await http.put(place.signed_url + "0", content=content, headers=headers)).status_code == 403
    for field in ({"filename": "../x"}, {"filename": "/etc/x"}, {"project": ".."}):
        bad = data.CreateUploadLocationRequest()
        bad.CopyFrom(request)
        bad.MergeFrom(data.CreateUploadLocationRequest(**field))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.data.CreateUploadLocation(bad)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
