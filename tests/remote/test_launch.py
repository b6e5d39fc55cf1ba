"""What the client sends to start, follow and end runs: its content, its rules, and what it makes of refusals."""

import asyncio
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import protovalidate
import pytest
from flyteidl2.common.run_pb2 import OffloadedInputData
from flyteidl2.dataproxy import dataproxy_service_pb2, dataproxy_service_pb2_grpc
from flyteidl2.workflow import run_definition_pb2, run_service_pb2, run_service_pb2_grpc

import flyte
import flyte.remote
from flyte.errors import RuntimeSystemError, RuntimeUserError, UnionRpcError
from flyte.models import ActionPhase
from flyte.remote import _channel, _plane_source
from flyte.remote._connection import configured
from flyte.remote._source import looking

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "programs"))

import shop
from loopback import Proxy, Server, connection_to, serving

RUNNING, SUCCEEDED, FAILED = 4, 5, 6


class Runs(run_service_pb2_grpc.RunServiceServicer):
    """One run, whose phases are those of ``phases``: one is gone on to with each look at it."""

    def __init__(self) -> None:
        self.created: list[Any] = []
        self.refusal: tuple[grpc.StatusCode, str] | None = None
        self.phases = [RUNNING, SUCCEEDED]
        self.error: run_definition_pb2.ErrorInfo | None = None
        self.watched = 0
        self.silent = False

    def _details(self, request: Any) -> run_definition_pb2.ActionDetails:
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        made = run_definition_pb2.ActionDetails(id=request.action_id)
        made.status.phase = phase  # type: ignore[assignment]
        if phase == FAILED and self.error is not None:
            made.error_info.CopyFrom(self.error)
        return made

    async def CreateRun(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.created.append(request)
        if self.refusal is not None:
            await context.abort(*self.refusal)
        answer = run_service_pb2.CreateRunResponse()
        answer.run.action.id.run.CopyFrom(request.run_id)
        answer.run.action.id.run.org = ""  # the open-source control plane knows none
        answer.run.action.id.name = "a0"
        return answer

    async def GetActionDetails(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        return run_service_pb2.GetActionDetailsResponse(details=self._details(request))

    async def WatchActionDetails(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        self.watched += 1
        if self.silent:
            await asyncio.sleep(3600)
        yield run_service_pb2.WatchActionDetailsResponse(details=self._details(request))


class Data(dataproxy_service_pb2_grpc.DataProxyServiceServicer):
    """Keeps inputs, or does not know how to."""

    def __init__(self) -> None:
        self.uploads: list[Any] = []
        self.places: list[Any] = []
        self.knows_uploads = True

    async def UploadInputs(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        if not self.knows_uploads:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        self.uploads.append(request)
        stored = OffloadedInputData(uri="s3://bucket/in", inputs_hash="of-the-server")
        return dataproxy_service_pb2.UploadInputsResponse(offloaded_input_data=stored)

    async def CreateUploadLocation(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        self.places.append(request)
        return dataproxy_service_pb2.CreateUploadLocationResponse(
            signed_url=f"{store_url}/put?signature=s", native_url="s3://bucket/code.tar.gz", headers={"x-meta": "m"}
        )


store_url = ""


class Store:
    """Takes files over HTTP; answers with the next status of ``script``, else 200."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.puts: list[tuple[dict[str, str], bytes]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.puts.append((headers, body))
        status = self.script.pop(0) if self.script else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()


class Plane:
    def __init__(self, server: Server, runs: Runs, data: Data, store: Store) -> None:
        self.server, self.runs, self.data, self.store = server, runs, data, store


@asynccontextmanager
async def plane() -> AsyncIterator[Plane]:
    global store_url
    server, runs, data, store = Server(), Runs(), Data(), Store()
    server.runs = runs  # type: ignore[assignment]
    server.services.append(lambda added: dataproxy_service_pb2_grpc.add_DataProxyServiceServicer_to_server(data, added))
    http = await asyncio.start_server(store.serve, "127.0.0.1", 0)
    store_url = f"http://127.0.0.1:{http.sockets[0].getsockname()[1]}"
    async with serving(server):
        configured.set_default(connection_to(server.port, org="acme", project="tea", domain="development"))
        try:
            yield Plane(server, runs, data, store)
        finally:
            http.close()


@pytest.fixture(autouse=True)
def session() -> Iterator[None]:
    flyte.init(root_dir=Path(__file__).parent / "programs")
    yield
    flyte.init()


@pytest.fixture(autouse=True)
def no_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shop.env, "image", flyte.Image.from_base("loopback.invalid/tea:1"))

    async def built(*_: Any, **__: Any) -> dict[str, Any]:
        return {"shop": type("Made", (), {"uri": "loopback.invalid/tea:1"})()}

    monkeypatch.setattr("flyte._verbs.shipment.prepare_images", built)


async def launched(**settings: Any) -> Any:
    return await flyte.with_runcontext(mode="remote", **settings).run.aio(shop.add, 3)


async def test_the_request_says_what_was_asked_for():
    async with plane() as there:
        run = await launched(
            name="tea-1", labels={"team": "a"}, annotations={"b": "c"}, env_vars={"X": "1"}, interruptible=True,
            overwrite_cache=True, cache_lookup_scope="project-domain", queue="fast", raw_data_path="s3://raw",
            service_account="robot", max_action_concurrency=7, custom_context={"who": "me"}, run_base_dir="s3://base",
        )  # fmt: skip
        (request,), (upload,) = there.runs.created, there.data.uploads
        for message in (request, upload, *there.data.places):
            protovalidate.validate(message)
        assert (request.run_id.org, request.run_id.project, request.run_id.name) == ("acme", "tea", "tea-1")
        spec = request.run_spec
        assert dict(spec.labels.values) == {"team": "a"}
        assert dict(spec.annotations.values) == {"b": "c"}
        assert {pair.key: pair.value for pair in spec.envs.values} == {"X": "1"}
        assert spec.interruptible.value is True
        assert spec.overwrite_cache and spec.cache_config.overwrite_cache
        assert spec.cache_config.cache_lookup_scope == 2
        assert (spec.queue, spec.max_action_concurrency, spec.run_base_dir) == ("fast", 7, "s3://base")
        assert spec.raw_data_storage.raw_data_prefix == "s3://raw"
        assert spec.security_context.run_as.k8s_service_account == "robot"
        assert spec.task_spec_source == 2
        assert request.offloaded_input_data == OffloadedInputData(uri="s3://bucket/in", inputs_hash="of-the-server")
        template = request.task_spec.task_template
        args = list(template.container.args)
        assert args[args.index("--tgz") + 1] == "s3://bucket/code.tar.gz"
        assert args[-4:] == ["mod", "shop", "instance", "add"]
        assert template.metadata.code_bundle_uri == "s3://bucket/code.tar.gz"
        assert [one.name for one in upload.inputs.literals] == ["x", "y"]
        assert {pair.key: pair.value for pair in upload.inputs.context} == {"who": "me"}
        assert upload.base_dir == "s3://base"
        assert run.url.endswith("/v2/domain/development/project/tea/runs/tea-1")


async def test_the_code_is_sent_as_the_store_wants_it():
    import base64

    async with plane() as there:
        there.store.script = ["503 Service Unavailable", "429 Too Many Requests"]
        run = await launched()
        assert len(there.store.puts) == 3
        headers, body = there.store.puts[-1]
        digest = hashlib.md5(body, usedforsecurity=False)
        assert headers["content-md5"] == base64.b64encode(digest.digest()).decode()
        assert headers["x-meta"] == "m"
        (place,) = there.data.places
        assert place.content_md5 == digest.digest()
        assert place.add_content_md5_metadata
        assert 300 < place.expires_in.seconds <= 3600
        assert there.runs.created[0].task_spec.task_template.id.version == digest.hexdigest()
        await launched()
        assert len(there.store.puts) == 3  # sent once a day
        assert run.name != (await launched()).name


async def test_a_store_that_refuses_says_so_without_the_signature():
    async with plane() as there:
        there.store.script = ["403 Forbidden"] * 9
        with pytest.raises(
            RuntimeSystemError, match=r"could not be sent to 127\.0\.0\.1 after 1 attempts: 403"
        ) as caught:
            await launched()
        assert "signature" not in str(caught.value)
        assert not there.runs.created


async def test_inputs_travel_inline_where_they_cannot_be_stored():
    async with plane() as there:
        there.data.knows_uploads = False
        await launched()
        (request,) = there.runs.created
        protovalidate.validate(request)
        assert [one.name for one in request.inputs.literals] == ["x", "y"]


@pytest.mark.parametrize(
    ("status", "cls", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, RuntimeUserError, "InvalidArgumentError"),
        (grpc.StatusCode.ALREADY_EXISTS, RuntimeUserError, "RunAlreadyExistsError"),
        (grpc.StatusCode.UNAVAILABLE, RuntimeSystemError, "SystemUnavailableError"),
        (grpc.StatusCode.NOT_FOUND, RuntimeUserError, "RunCreationError"),
        (grpc.StatusCode.PERMISSION_DENIED, RuntimeUserError, "RunCreationError"),
        (grpc.StatusCode.DATA_LOSS, RuntimeSystemError, "RunCreationError"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_refusals_have_one_class_each(status: grpc.StatusCode, cls: type[Exception], code: str):
    async with plane() as there:
        there.runs.refusal = (status, "no tea")
        with pytest.raises(cls, match="tea-2") as caught:
            await launched(name="tea-2")
        assert caught.value.code == code  # type: ignore[attr-defined]
        assert "no tea" in str(caught.value)


async def test_a_made_up_name_that_exists_is_our_own_first_attempt():
    async with plane() as there:
        there.runs.refusal = (grpc.StatusCode.ALREADY_EXISTS, "there")
        run = await launched()
        assert run.name == there.runs.created[0].run_id.name


async def test_streams_that_end_too_early_are_opened_again():
    async with plane() as there:
        there.runs.phases = [RUNNING] * 6 + [SUCCEEDED]
        run = await launched()
        async with asyncio.timeout(20):
            await run.wait.aio()
        assert run.phase is ActionPhase.SUCCEEDED
        assert there.runs.watched >= 2


async def test_lost_news_are_read(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_plane_source, "SILENT_S", 0.5)
    async with plane() as there:
        there.runs.silent = True
        there.runs.phases = [RUNNING, RUNNING, SUCCEEDED]
        run = await launched()
        async with asyncio.timeout(20):
            await run.wait.aio()
        assert run.phase is ActionPhase.SUCCEEDED


async def test_connections_that_break_while_somebody_waits():
    async with plane() as there, Proxy(there.server.port) as proxy:
        there.runs.silent = True
        there.runs.phases = [RUNNING]
        configured.set_default(connection_to(proxy.port, org="acme", project="tea", domain="development"))
        run = await launched()
        waiting = asyncio.create_task(run.wait.aio())
        for _ in range(3):
            await asyncio.sleep(0.3)
            proxy.reset_all()
        there.runs.silent, there.runs.phases = False, [SUCCEEDED]
        proxy.reset_all()
        async with asyncio.timeout(20):
            await waiting
        assert run.phase is ActionPhase.SUCCEEDED


async def test_a_control_plane_that_stays_away_ends_the_wait(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_plane_source, "PATIENCE_S", 1.0)
    async with plane() as there:
        there.runs.silent = True
        there.runs.phases = [RUNNING]
        run = await launched()
        waiting = asyncio.create_task(run.wait.aio())
        await asyncio.sleep(0.3)
        await there.server.stop()
        began = time.monotonic()
        with pytest.raises(UnionRpcError):
            async with asyncio.timeout(40):
                await waiting
        assert time.monotonic() - began < 35


async def test_an_error_without_a_code_is_still_an_error():
    async with plane() as there:
        there.runs.phases = [FAILED]
        there.runs.error = run_definition_pb2.ErrorInfo(message="pod died", kind=2)
        run = await launched()
        await run.wait.aio()
        with pytest.raises(RuntimeSystemError, match="pod died"):
            await run.raise_for_status.aio()


def test_every_request_passes_the_rules_of_the_protocol(devbox: Any, monkeypatch: pytest.MonkeyPatch):
    """The rules of buf.validate, which a managed control plane may enforce (wire-protocol section 11.1)."""
    checked: set[str] = set()
    for call in (_channel.UnaryCall, _channel.StreamCall):
        before: Any = call.__call__

        def check(self: Any, request: Any, *args: Any, _before: Any = before, **kwargs: Any) -> Any:
            protovalidate.validate(request)
            checked.add(self._method.rpartition("/")[2])
            return _before(self, request, *args, **kwargs)

        monkeypatch.setattr(call, "__call__", check)
    away = flyte.with_runcontext(mode="remote", labels={"a": "b"}, env_vars={"C": "d"})
    run: Any = away.run(shop.add, 1)
    run.wait()
    run.outputs()
    list(run.get_logs())
    run.details()
    report: Any = away.run(shop.report, "x")
    report.wait()
    report.get_report()
    sleeping: Any = away.run(shop.sleep, 60.0)
    sleeping.abort()
    flyte.deploy(shop.env, version="rules")
    task: Any = flyte.remote.Task.get("shop.add", auto_version="latest")
    deployed: Any = away.run(task, x=1)
    deployed.wait()
    again: Any = flyte.rerun(run.name)
    again.wait()
    with looking(away=True):
        assert list(flyte.remote.Run.listall(in_phase=("succeeded",), limit=3))
        assert list(flyte.remote.Action.listall(run.name))
        list(flyte.remote.Task.listall(by_task_env="shop", entrypoint=False))
        flyte.remote.Action.get(run_name=sleeping.name, name="a0").abort()
    assert checked >= {
        "CreateRun", "UploadInputs", "CreateUploadLocation", "GetActionDetails", "WatchActionDetails", "ListRuns",
        "ListActions", "AbortRun", "AbortAction", "DeployTask", "ListTasks", "GetTaskDetails", "GetActionData",
        "TailLogs", "CreateDownloadLink", "GetRunDetails",
    }  # fmt: skip
