"""A real gRPC server and a proxy that breaks connections, on loopback, for the tests of the client."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from flyteidl2.auth import identity_pb2, identity_pb2_grpc
from flyteidl2.workflow import run_service_pb2, run_service_pb2_grpc

from flyte.remote._connection import Connection, Limits
from flyte.remote._endpoint import parse_endpoint

QUICK = Limits(
    call_s=5.0,
    connect_s=0.8,
    keepalive_every_s=0.3,
    keepalive_answer_s=0.3,
    backoff_first_s=0.05,
    backoff_cap_s=0.4,
    throttled_s=3.0,
    login_s=10.0,
    http_s=3.0,
)
Answer = Callable[["Identity", grpc.aio.ServicerContext], Any]


class Identity(identity_pb2_grpc.IdentityServiceServicer):
    """Answers with the next of ``script``: an exception-like status, or a user; keeps what each call carried."""

    def __init__(self) -> None:
        self.script: list[Answer] = []
        self.seen: list[dict[str, str]] = []

    async def UserInfo(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        """The user, or what the script says."""
        self.seen.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        if self.script:
            answer = self.script.pop(0)(self, context)
            if answer is not None:
                await answer
        return identity_pb2.UserInfoResponse(subject="u-1", name="Ada", email="ada@example.com")


def fails(code: grpc.StatusCode, details: str = "no", *trailers: tuple[str, Any]) -> Answer:
    """An answer that is a failure."""

    async def abort(context: grpc.aio.ServicerContext) -> None:
        await context.abort(code, details, trailers)

    return lambda _self, context: abort(context)


def waits(delay_s: float) -> Answer:
    """An answer that comes late."""
    return lambda _self, _context: asyncio.sleep(delay_s)


class Runs(run_service_pb2_grpc.RunServiceServicer):
    """Watches that say ``count`` things, one every ``every_s``, and then keep silent for ``silent_s``."""

    def __init__(self) -> None:
        self.count, self.every_s, self.silent_s = 3, 0.0, 0.0
        self.opened = 0

    async def WatchRuns(self, request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        """The stream."""
        self.opened += 1
        for _ in range(self.count):
            yield run_service_pb2.WatchRunsResponse()
            await asyncio.sleep(self.every_s)
        await asyncio.sleep(self.silent_s)


class Server:
    """A server that can be stopped and started again on the same port."""

    def __init__(self, tls: grpc.ServerCredentials | None = None, host: str = "127.0.0.1") -> None:
        self.identity = Identity()
        self.runs = Runs()
        self.services: list[Callable[[grpc.aio.Server], None]] = []
        self.port = 0
        self.host = host
        self._tls = tls
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen; again on the port of before."""
        server = self._server = grpc.aio.server(
            options=[
                # A server that takes keepalive as seriously as the client.
                ("grpc.http2.min_ping_interval_without_data_ms", 100),
                ("grpc.http2.max_ping_strikes", 0),
                ("grpc.max_receive_message_length", -1),
                ("grpc.so_reuseport", 0),
            ]
        )
        identity_pb2_grpc.add_IdentityServiceServicer_to_server(self.identity, server)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(self.runs, server)
        for add in self.services:
            add(server)
        address = f"{self.host}:{self.port}"
        self.port = server.add_secure_port(address, self._tls) if self._tls else server.add_insecure_port(address)
        await server.start()

    async def stop(self) -> None:
        """End at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


@asynccontextmanager
async def serving(server: Server | None = None) -> AsyncIterator[Server]:
    """A server while it lasts."""
    server = server or Server()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Proxy:
    """Forwards bytes to ``target``, until it is told to break.

    ``stalled``: what is open stays open, and nothing passes any more (a half-open connection); new connections are
    taken and left without a word (a black hole). ``refusing``: new connections are reset.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.stalled = False
        self.refusing = False
        self.accepted = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        self._writers.add(writer)
        upstream = None
        try:
            if self.refusing:
                _reset(writer)
                return
            if self.stalled:
                await asyncio.sleep(3600)
            back, upstream = await asyncio.open_connection("127.0.0.1", self.target)
            self._writers.add(upstream)
            await asyncio.gather(self._pump(reader, upstream), self._pump(back, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for one in (writer, upstream):
                if one is not None:
                    self._writers.discard(one)
                    one.close()
            self._tasks.discard(task)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.stalled:
                await asyncio.sleep(3600)
            sink.write(data)
            await sink.drain()
        sink.close()

    def reset_all(self) -> None:
        """Reset every connection."""
        for writer in list(self._writers):
            _reset(writer)

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._server.wait_closed(), 1)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def connection_to(port: int, **more: Any) -> Connection:
    """A connection to a port of this machine, with short limits."""
    settings: dict[str, Any] = {"insecure": True, "limits": QUICK, **more}
    return Connection(endpoint=parse_endpoint(f"127.0.0.1:{port}"), **settings)


class Tunnel:
    """An HTTP proxy that opens tunnels (CONNECT), and counts them."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.url = ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0].decode()
        self.asked.append(line)
        host, _, port = line.split()[1].rpartition(":")
        try:
            back, onward = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(self._pump(reader, onward), self._pump(back, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def __aenter__(self) -> "Tunnel":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
