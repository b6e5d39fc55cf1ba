"""The channel against a real gRPC server: errors, retries, deadlines, and connections that break in every way."""

import asyncio
import pickle
import random
import socket
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
from flyteidl2.auth import identity_pb2
from flyteidl2.workflow import run_service_pb2
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

sys.path.insert(0, str(Path(__file__).parent))  # with importlib's import mode, a test's neighbours are not on the path

from loopback import QUICK, Proxy, Runs, Server, Tunnel, connection_to, fails, serving, waits

import flyte
from flyte import errors
from flyte._core.loop import run_blocking
from flyte.remote._channel import NoCredentials
from flyte.remote._client import SERVICES, Client, client
from flyte.remote._connection import Connection, Limits
from flyte.remote._endpoint import Endpoint, parse_endpoint

WHO = identity_pb2.UserInfoRequest()
WATCH = run_service_pb2.WatchRunsRequest()
Code = grpc.StatusCode


def client_of(server: Server | Proxy, **more: object) -> Client:
    return Client(connection_to(server.port, **more), NoCredentials())


# Endpoints ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("flyte.example.com", "flyte.example.com", None),
        ("flyte.example.com:81", "flyte.example.com", 81),
        ("dns:///flyte.example.com", "flyte.example.com", None),
        ("dns:///flyte.example.com:81/", "flyte.example.com", 81),
        ("dns://flyte.example.com", "flyte.example.com", None),
        ("https://flyte.example.com/", "flyte.example.com", None),
        ("http://localhost:8090", "localhost", 8090),
        (" localhost:8090 ", "localhost", 8090),
        ("[::1]:8090", "[::1]", 8090),
        ("[::1]", "[::1]", None),
        ("flyte_binary.ns", "flyte_binary.ns", None),
    ],
)
def test_forms_of_an_endpoint(text, host, port):
    assert parse_endpoint(text) == Endpoint(host, port)


@pytest.mark.parametrize(
    "text", ["", "ftp://x", "unix:///run/x", "x:port", "x:0", "x:70000", "a b", "x/y", "::1", "http://", "-x"]
)
def test_other_forms_are_refused(text):
    with pytest.raises(ValueError, match="write it as host"):
        parse_endpoint(text)


def test_a_password_in_an_endpoint_is_not_repeated():
    with pytest.raises(ValueError, match="takes no user or password") as caught:
        parse_endpoint("https://me:hunter2@example.com")
    assert "hunter2" not in str(caught.value)


def test_what_follows_from_an_endpoint():
    assert parse_endpoint("acme.flyte.example.com").organization == "acme"
    assert parse_endpoint("example.com").organization is None
    assert parse_endpoint("10.0.0.1:80").organization is None
    assert parse_endpoint("example.com").address(insecure=False) == "example.com:443"
    assert parse_endpoint("example.com").address(insecure=True) == "example.com:80"
    assert parse_endpoint("[::1]:1").is_loopback and parse_endpoint("127.0.0.2").is_loopback


# One call -------------------------------------------------------------------------------------------------------------


async def test_a_call_reaches_the_server_with_a_request_id():
    async with serving() as server:
        one = client_of(server)
        said = await one.identity.UserInfo(WHO, metadata=(("x-actions-run", "r1"),))
        assert (said.name, said.email) == ("Ada", "ada@example.com")
        await one.identity.UserInfo(WHO)
        first, second = server.identity.seen
        assert len(first["x-request-id"]) == 36 and first["x-request-id"] != second["x-request-id"]
        assert first["x-actions-run"] == "r1" and "authorization" not in first
        await one.close()


def test_inside_a_task_the_request_id_names_the_action():
    from flyte.remote._channel import new_request_id

    env = flyte.TaskEnvironment("ids")

    @env.task
    async def ask() -> str:
        return new_request_id()

    async def main() -> tuple[str, str]:
        done = await flyte.with_runcontext(mode="local").run.aio(ask)
        return str(done.outputs()[0]), done.name

    said, run = asyncio.run(main())
    assert f"{run}-a0-" in said and len(said.rpartition("-")[2]) == 4


async def test_messages_have_no_cap():
    async with serving() as server:
        big = "x" * 6_000_000
        server.identity.script = [fails(Code.NOT_FOUND)]
        with pytest.raises(errors.RpcNotFoundError):
            await client_of(server).identity.UserInfo(WHO, metadata=())

        async def answer(request, context):
            return identity_pb2.UserInfoResponse(name=big)

        server.identity.UserInfo = answer
        await server.stop()
        await server.start()
        assert len((await client_of(server).identity.UserInfo(WHO)).name) == 6_000_000


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
async def test_each_status_is_one_exception(code):
    async with serving() as server:
        server.identity.script = [fails(code, "because", ("grpc-retry-pushback-ms", "-1"))] * 5
        with pytest.raises(errors.UnionRpcError) as caught:
            await client_of(server).identity.UserInfo(WHO)
        assert type(caught.value) is errors.RPC_ERRORS[code.name]
        assert caught.value.code == code.name
        request_id = server.identity.seen[0]["x-request-id"]
        assert f"IdentityService.UserInfo at 127.0.0.1:{server.port} failed: {code.name}: because" in str(caught.value)
        assert request_id in str(caught.value)
        assert caught.value.kind in ("user", "system")
        assert len(server.identity.seen) == 1


async def test_what_may_pass_is_tried_again_with_the_same_request_id():
    async with serving() as server:
        server.identity.script = [fails(Code.UNAVAILABLE), fails(Code.INTERNAL), fails(Code.UNAVAILABLE)]
        assert (await client_of(server).identity.UserInfo(WHO)).name == "Ada"
        assert len(server.identity.seen) == 4
        assert len({seen["x-request-id"] for seen in server.identity.seen}) == 1


@pytest.mark.parametrize(("more", "calls"), [({}, 4), ({"retries": 1}, 2), ({"retries": 0}, 1)])
async def test_attempts_are_counted(more, calls):
    async with serving() as server:
        server.identity.script = [fails(Code.UNAVAILABLE, "busy")] * 10
        with pytest.raises(errors.RpcUnavailableError, match="busy; check that the control plane runs"):
            await client_of(server, **more).identity.UserInfo(WHO)
        assert len(server.identity.seen) == calls


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.ABORTED, Code.DATA_LOSS, Code.UNKNOWN])
async def test_what_does_not_pass_is_not_tried_again(code):
    async with serving() as server:
        server.identity.script = [fails(code)]
        with pytest.raises(errors.UnionRpcError):
            await client_of(server).identity.UserInfo(WHO)
        assert len(server.identity.seen) == 1


def retry_info(seconds: float) -> bytes:
    wait = duration_pb2.Duration()
    wait.FromNanoseconds(int(seconds * 1e9))
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.RetryInfo(retry_delay=wait))
    return status_pb2.Status(code=8, message="slow", details=[detail]).SerializeToString()


@pytest.mark.parametrize(
    "trailer",
    [
        ("retry-after", "0.4"),
        ("retry-after-ms", "400"),
        ("grpc-retry-pushback-ms", "400"),
        ("grpc-status-details-bin", retry_info(0.4)),
    ],
)
async def test_a_server_says_how_long_to_wait(trailer):
    async with serving() as server:
        server.identity.script = [fails(Code.RESOURCE_EXHAUSTED, "slow", trailer)]
        start = time.monotonic()
        await client_of(server, retries=0).identity.UserInfo(WHO)
        assert 0.4 <= time.monotonic() - start < 2


async def test_slowing_down_uses_up_no_attempts_and_no_time_of_the_call():
    async with serving() as server:
        slow = fails(Code.UNAVAILABLE, "slow", ("retry-after", "0.3"))
        server.identity.script = [slow, slow, fails(Code.UNAVAILABLE), slow]
        assert (await client_of(server, retries=1).identity.UserInfo(WHO, timeout=0.8)).name == "Ada"
        assert len(server.identity.seen) == 5


async def test_slowing_down_has_an_end():
    async with serving() as server:
        server.identity.script = [fails(Code.RESOURCE_EXHAUSTED, "slow", ("retry-after", "1"))] * 50
        start = time.monotonic()
        with pytest.raises(errors.RpcThrottledError, match="after 4 attempts"):
            await client_of(server).identity.UserInfo(WHO)
        assert time.monotonic() - start < 5


async def test_a_call_has_a_deadline():
    async with serving() as server:
        server.identity.script = [waits(30)]
        start = time.monotonic()
        with pytest.raises(errors.RpcTimeoutError, match="DEADLINE_EXCEEDED"):
            await client_of(server).identity.UserInfo(WHO, timeout=0.3)
        assert time.monotonic() - start < 2


async def test_a_call_can_be_cancelled():
    async with serving() as server:
        server.identity.script = [waits(30)]
        call = asyncio.create_task(client_of(server).identity.UserInfo(WHO))
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(call, 2)


async def test_a_proxy_is_used_if_one_is_configured_and_only_then(monkeypatch):
    async with serving() as server, Tunnel() as tunnel:
        one = client_of(server, http_proxy_url=tunnel.url)
        await one.identity.UserInfo(WHO)
        assert tunnel.asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]
        await one.close()
        # That of the environment is for the world outside.
        monkeypatch.setenv("http_proxy", tunnel.url)
        await client_of(server).identity.UserInfo(WHO)
        assert len(tunnel.asked) == 1


async def test_what_a_server_says_moves_no_cursor():
    async with serving() as server:
        server.identity.script = [fails(Code.NOT_FOUND, "gone\x1b[2J\x07")]
        with pytest.raises(errors.RpcNotFoundError, match=r"gone \[2J") as caught:
            await client_of(server).identity.UserInfo(WHO)
        assert str(caught.value).isprintable()


def test_errors_travel_between_processes():
    for code, kind in errors.RPC_ERRORS.items():
        error = pickle.loads(pickle.dumps(kind(code, "what happened")))
        assert type(error) is kind and str(error) == "what happened" and error.code == code


# Streams --------------------------------------------------------------------------------------------------------------


async def test_a_stream_gives_what_arrives():
    async with serving() as server:
        assert len([one async for one in client_of(server).runs.WatchRuns(WATCH)]) == 3


async def test_opening_a_stream_is_tried_again_but_not_what_comes_after(monkeypatch):
    async with serving() as server:

        async def fail_twice(self: Runs, request, context):
            self.opened += 1
            if self.opened < 3:
                await context.abort(Code.UNAVAILABLE, "not yet")
            yield run_service_pb2.WatchRunsResponse()
            await context.abort(Code.UNAVAILABLE, "gone")

        monkeypatch.setattr(Runs, "WatchRuns", fail_twice)
        await server.stop()
        await server.start()
        stream = client_of(server).runs.WatchRuns(WATCH)
        await anext(stream)
        with pytest.raises(errors.RpcUnavailableError, match="gone"):
            await anext(stream)
        assert server.runs.opened == 3


async def test_a_stream_can_have_a_longest_silence():
    async with serving() as server:
        server.runs.silent_s = 30
        stream = client_of(server).runs.WatchRuns(WATCH, idle_timeout_s=0.3)
        for _ in range(3):
            await anext(stream)
        start = time.monotonic()
        with pytest.raises(errors.RpcTimeoutError, match=r"nothing arrived in 0\.3 s"):
            await anext(stream)
        assert time.monotonic() - start < 3


# Connections that break -----------------------------------------------------------------------------------------------


async def test_a_half_open_connection_is_noticed_during_a_call():
    async with serving() as server, Proxy(server.port) as proxy:
        one = client_of(proxy)
        await one.identity.UserInfo(WHO)
        server.identity.script = [waits(3)]
        call = asyncio.create_task(one.identity.UserInfo(WHO, timeout=20))
        await asyncio.sleep(0.2)
        proxy.stalled = True
        await asyncio.sleep(0.1)
        accepted = proxy.accepted
        start = time.monotonic()
        while proxy.accepted == accepted:
            await asyncio.sleep(0.02)
        # Keepalive gave the old connection up, and the call tried another.
        assert time.monotonic() - start < 2
        with pytest.raises(errors.RpcUnavailableError):
            await call
        assert time.monotonic() - start < 8


async def test_a_half_open_connection_is_noticed_by_a_quiet_stream():
    async with serving() as server, Proxy(server.port) as proxy:
        server.runs.silent_s = 60
        stream = client_of(proxy).runs.WatchRuns(WATCH)
        for _ in range(3):
            await anext(stream)
        proxy.stalled = True
        start = time.monotonic()
        with pytest.raises(errors.RpcUnavailableError):
            await anext(stream)
        assert time.monotonic() - start < 3


async def test_a_quiet_stream_on_a_sound_connection_goes_on():
    async with serving() as server:
        server.runs.count, server.runs.every_s = 2, 2.0
        start = time.monotonic()
        assert len([one async for one in client_of(server).runs.WatchRuns(WATCH)]) == 2
        assert time.monotonic() - start > 3.9


@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_black_hole_is_noticed(kind):
    async with serving() as server, Proxy(server.port) as proxy:
        proxy.stalled = True
        one = client_of(proxy)
        start = time.monotonic()
        with pytest.raises((errors.RpcUnavailableError, errors.RpcTimeoutError)):
            await (one.identity.UserInfo(WHO) if kind == "unary" else anext(one.runs.WatchRuns(WATCH)))
        assert time.monotonic() - start < QUICK.call_s + 2.5


async def test_a_reset_is_noticed_and_the_call_goes_on():
    async with serving() as server, Proxy(server.port) as proxy:
        one = client_of(proxy)
        server.identity.script = [waits(30)]
        call = asyncio.create_task(one.identity.UserInfo(WHO))
        await asyncio.sleep(0.3)
        start = time.monotonic()
        proxy.reset_all()
        assert (await call).name == "Ada"
        assert time.monotonic() - start < 2
        proxy.refusing = True
        proxy.reset_all()
        with pytest.raises(errors.RpcUnavailableError):
            await one.identity.UserInfo(WHO)
        proxy.refusing = False
        await asyncio.sleep(0.5)
        assert (await one.identity.UserInfo(WHO)).name == "Ada"


async def test_a_server_that_restarts_is_found_again():
    async with serving() as server:
        one = client_of(server, retries=8)
        await one.identity.UserInfo(WHO)
        await server.stop()
        call = asyncio.create_task(one.identity.UserInfo(WHO))
        await asyncio.sleep(0.5)
        assert not call.done()
        await server.start()
        assert (await call).name == "Ada"


async def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(errors.RpcUnavailableError, match="after 4 attempts") as caught:
            await Client(connection_to(taken.getsockname()[1]), NoCredentials()).identity.UserInfo(WHO)
    assert caught.value.kind == "system"


def test_what_ships_notices_within_thirty_seconds():
    limits = Limits()
    assert limits.keepalive_every_s + limits.keepalive_answer_s < 30
    assert limits.call_s <= 30 and limits.connect_s < 30


# Event loops ----------------------------------------------------------------------------------------------------------


def test_one_client_serves_one_event_loop_after_the_other():
    ready, done = threading.Event(), threading.Event()
    ports: list[int] = []

    def serve() -> None:
        async def main() -> None:
            async with serving() as server:
                ports.append(server.port)
                ready.set()
                while not done.is_set():
                    await asyncio.sleep(0.02)

        asyncio.run(main())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert ready.wait(10)
        one = Client(connection_to(ports[0]), NoCredentials())
        for _ in range(3):
            assert run_blocking(lambda: one.identity.UserInfo(WHO)).name == "Ada"
            assert not one.channel._lines, "the channel was not closed with its loop"
    finally:
        done.set()
        thread.join(10)


# The client -----------------------------------------------------------------------------------------------------------


async def test_every_service_has_its_stub():
    one = Client(connection_to(1), NoCredentials())
    for name in SERVICES:
        assert type(getattr(one, name)).__name__ == f"{SERVICES[name][1]}Stub"
    with pytest.raises(AttributeError, match="no service 'nope'"):
        _ = one.nope


def test_without_an_endpoint_there_is_no_client():
    with pytest.raises(errors.InitializationError, match=r"flyte.init\(endpoint=...\)"):
        client()


def test_a_connection_shows_no_secret():
    shown = repr(
        Connection(
            endpoint=parse_endpoint("x"),
            client_secret="hunter2",
            command=("hunter2",),
            http_proxy_url="http://a:hunter2@p",
        )
    )
    assert "hunter2" not in shown


# Chaos ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_to_connections_every_call_ends(seed):
    chance = random.Random(seed)
    async with serving() as server, Proxy(server.port) as proxy:
        one = client_of(proxy, retries=5)
        ended: dict[str, int] = {}
        broken: set[str] = set()

        async def call(number: int) -> None:
            await asyncio.sleep(number * 0.02)
            start = time.monotonic()
            try:
                await one.identity.UserInfo(WHO, timeout=2.0)
                outcome = "answered"
            except errors.UnionRpcError as error:
                outcome = error.code
            assert time.monotonic() - start < 6
            ended[outcome] = ended.get(outcome, 0) + 1

        async def watch() -> None:
            until = time.monotonic() + 3
            while time.monotonic() < until:
                try:
                    async for _ in one.runs.WatchRuns(WATCH, timeout=1.0, idle_timeout_s=0.5):
                        pass
                except errors.UnionRpcError as error:
                    broken.add(error.code)
                await asyncio.sleep(0.05)

        async def disturb() -> None:
            for _ in range(8):
                await asyncio.sleep(chance.uniform(0.05, 0.3))
                what = chance.choice(["reset", "stall", "refuse", "restart"])
                if what == "reset":
                    proxy.reset_all()
                elif what == "stall":
                    proxy.stalled = True
                elif what == "refuse":
                    proxy.refusing = True
                    proxy.reset_all()
                else:
                    await server.stop()
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                proxy.stalled = proxy.refusing = False
                if what == "restart":
                    await server.start()

        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(disturb())
            group.create_task(watch())
            for number in range(100):
                group.create_task(call(number))
        assert sum(ended.values()) == 100 and ended["answered"] > 20
        assert {*ended, *broken} <= {"answered", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED", "UNKNOWN"}
        # And it is as good as new.
        assert (await one.identity.UserInfo(WHO)).name == "Ada"
