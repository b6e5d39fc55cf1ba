"""A control plane whose data and secrets are answered elsewhere: two real gRPC servers (wire-protocol section 1.4)."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import protovalidate
import pytest
from flyteidl2.cluster import payload_pb2, service_pb2_grpc
from flyteidl2.dataproxy import dataproxy_service_pb2, dataproxy_service_pb2_grpc
from flyteidl2.secret import payload_pb2 as secret_pb2
from flyteidl2.secret import secret_pb2_grpc
from flyteidl2.workflow import run_service_pb2, run_service_pb2_grpc

import flyte
import flyte.remote
from flyte.errors import RpcNotFoundError, RpcUnavailableError, RuntimeSystemError
from flyte.remote._client import Client
from flyte.remote._clusters import Operation
from flyte.remote._plane import Plane, Token
from flyte.remote._source import source_of

sys.path.insert(0, str(Path(__file__).parent))

from loopback import Server, connection_to, serving

SUCCEEDED = 5


class Place:
    """What one of the two servers is asked; it refuses whatever shows no token or breaks a rule."""

    def __init__(self, *services: Any) -> None:
        self.server = Server()
        self.asked: list[str] = []
        self.endpoint = ""
        self.refusal: grpc.StatusCode | None = None
        self.asks: list[Any] = []
        self.server.services = [lambda server, add=add: add(self, server) for add in services]

    async def seen(self, request: Any, context: grpc.aio.ServicerContext) -> None:
        shown = dict(context.invocation_metadata() or ()).get("authorization")
        if shown != "Bearer t-1":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"shown: {shown!r}")
        protovalidate.validate(request)
        self.asked.append(type(request).__name__)


class ControlPlane(Place, service_pb2_grpc.ClusterServiceServicer, run_service_pb2_grpc.RunServiceServicer):
    """Knows runs and where their data is, and no data itself."""

    def __init__(self) -> None:
        super().__init__(service_pb2_grpc.add_ClusterServiceServicer_to_server)
        self.server.runs = self  # type: ignore[assignment]

    async def SelectCluster(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self.seen(request, context)
        self.asks.append(request)
        if self.refusal is not None:
            await context.abort(self.refusal, "no cluster")
        return payload_pb2.SelectClusterResponse(cluster_endpoint=self.endpoint, cluster="c")

    async def GetActionDetails(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self.seen(request, context)
        answer = run_service_pb2.GetActionDetailsResponse()
        answer.details.id.CopyFrom(request.action_id)
        answer.details.status.phase = SUCCEEDED
        answer.details.status.attempts = 1
        return answer


class Cluster(Place, dataproxy_service_pb2_grpc.DataProxyServiceServicer, secret_pb2_grpc.SecretServiceServicer):
    """Keeps data, lines and secrets, and knows nothing else."""

    def __init__(self) -> None:
        super().__init__(
            dataproxy_service_pb2_grpc.add_DataProxyServiceServicer_to_server,
            secret_pb2_grpc.add_SecretServiceServicer_to_server,
        )

    async def GetActionData(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self.seen(request, context)
        answer = dataproxy_service_pb2.GetActionDataResponse()
        answer.outputs.literals.add(name="o0").value.scalar.primitive.integer = 42
        return answer

    async def UploadInputs(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self.seen(request, context)
        return dataproxy_service_pb2.UploadInputsResponse(
            offloaded_input_data={"uri": "s3://there", "inputs_hash": "h"}
        )

    async def TailLogs(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        await self.seen(request, context)
        answer = dataproxy_service_pb2.TailLogsResponse()
        answer.logs.add().lines.add(message="a line from there", originator=1)
        yield answer

    async def GetSecret(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        await self.seen(request, context)
        return secret_pb2.GetSecretResponse(secret={"id": request.id})


@asynccontextmanager
async def both() -> AsyncIterator[tuple[ControlPlane, Cluster, Plane]]:
    own, other = ControlPlane(), Cluster()
    async with serving(own.server), serving(other.server):
        connection = connection_to(own.server.port)
        plane = Plane(Client(connection, Token("t-1")), "o", "p", "d", "http://console")
        own.endpoint = f"http://127.0.0.1:{other.server.port}/"
        yield own, other, plane


async def test_data_and_lines_are_asked_of_the_cluster_that_has_them() -> None:
    async with both() as (own, other, plane):
        history = source_of(plane)
        run = await history.run("r1")
        for _ in range(3):
            assert (await history.data_of(plane.root("r1"))).outputs.literals[0].value.scalar.primitive.integer == 42
        assert [line.line async for line in history.lines(run, None, None)] == ["a line from there"]
        assert other.asked == ["GetActionDataRequest"] * 3 + ["TailLogsRequest"]
        # Once for each operation and resource.
        asked = [(one.operation, one.action_id.run.name, one.action_id.name) for one in own.asks]
        assert asked == [
            (Operation.OPERATION_GET_ACTION_DATA, "r1", "a0"),
            (Operation.OPERATION_TAIL_LOGS, "r1", "a0"),
        ]
        await history.data_of(plane.root("r2"))
        assert len(own.asks) == 3
        await plane.client.close()


async def test_a_secret_is_asked_of_the_narrowest_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    async with both() as (own, other, plane):
        monkeypatch.setattr("flyte.remote._secrets.find_client", lambda: (plane.client, "o"))
        for project, domain, which in (("", "", "org_id"), ("", "d", "domain_id"), ("p", "d", "project_id")):
            flyte.init(project=project or None, domain=domain or None)
            assert (await flyte.remote.Secret.get.aio("k")).name == "k"
            assert own.asks[-1].WhichOneof("resource") == which
            assert own.asks[-1].operation == Operation.OPERATION_USE_SECRETS
        flyte.init()
        await flyte.remote.Secret.get.aio("k", cluster_pool="gpus")
        assert own.asks[-1].cluster_pool_id.name == "gpus"
        assert other.asked == ["GetSecretRequest"] * 4
        await plane.client.close()


@pytest.mark.parametrize("said", ["", "{own}", "dns:///{own}", "https://localhost:{port}/"])
async def test_its_own_endpoint_is_the_same_channel(said: str) -> None:
    async with both() as (own, other, plane):
        own.endpoint = said.format(own=f"127.0.0.1:{own.server.port}", port=own.server.port)
        chosen = await plane.client.at_cluster(Operation.OPERATION_USE_SECRETS, project_id=plane.project_id())
        assert chosen is plane.client
        assert other.asked == []
        await plane.client.close()


async def test_one_channel_for_each_other_endpoint() -> None:
    async with both() as (_, _, plane):
        first = await plane.client.at_cluster(Operation.OPERATION_GET_ACTION_DATA, project_id=plane.project_id())
        second = await plane.client.at_cluster(Operation.OPERATION_UPLOAD_INPUTS, project_id=plane.project_id("q"))
        assert first is second is not plane.client
        assert first.channel.credentials is plane.client.channel.credentials
        await plane.client.close()


async def test_a_control_plane_that_knows_no_clusters_is_the_only_one() -> None:
    async with both() as (own, _, plane):
        own.refusal = grpc.StatusCode.UNIMPLEMENTED
        for number in range(3):
            at = await plane.client.at_cluster(
                Operation.OPERATION_UPLOAD_INPUTS, project_id=plane.project_id(f"p{number}")
            )
            assert at is plane.client
        assert len(own.asks) == 1, "it need not be asked again"
        await plane.client.close()


async def test_what_it_cannot_say_is_an_error() -> None:
    async with both() as (own, _, plane):
        own.refusal = grpc.StatusCode.NOT_FOUND

        async def ask() -> Client:
            return await plane.client.at_cluster(Operation.OPERATION_UPLOAD_INPUTS, project_id=plane.project_id())

        with pytest.raises(RpcNotFoundError, match="no cluster"):
            await ask()
        own.refusal, own.endpoint = None, "ftp://somewhere"
        with pytest.raises(RuntimeSystemError, match=r"names a cluster that cannot be reached: .*'ftp'"):
            await ask()
        own.endpoint = "127.0.0.1:1"
        with pytest.raises(RpcUnavailableError, match=r"at 127\.0\.0\.1:1 failed"):
            await (await ask()).data.UploadInputs(dataproxy_service_pb2.UploadInputsRequest())
        await plane.client.close()


async def test_inputs_of_a_run_go_to_the_cluster() -> None:
    from flyteidl2.dataproxy.dataproxy_service_pb2 import UploadInputsRequest

    from flyte.remote._launch import _stored

    async with both() as (own, other, plane):
        request = UploadInputsRequest(project_id=plane.project_id())
        request.task_id.org, request.task_id.project, request.task_id.domain = "o", "p", "d"
        request.task_id.name, request.task_id.version = "e.t", "v"
        assert (await _stored(plane, request)).uri == "s3://there"
        assert [one.project_id.name for one in own.asks] == ["p"]
        assert other.asked == ["UploadInputsRequest"]
        await plane.client.close()
