"""The devbox as a whole: one process that holds the store, the queue, the executor and the services.

It listens on loopback only. Whoever calls must show the token that lies, readable by its owner alone, beside the file
that says where it listens.
"""

import asyncio
import contextlib
import getpass
import hmac
import json
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from flyteidl2.actions.actions_service_pb2_grpc import add_ActionsServiceServicer_to_server
from flyteidl2.auth.auth_service_pb2_grpc import add_AuthMetadataServiceServicer_to_server
from flyteidl2.auth.identity_pb2_grpc import add_IdentityServiceServicer_to_server
from flyteidl2.cluster.service_pb2_grpc import add_ClusterServiceServicer_to_server
from flyteidl2.dataproxy.dataproxy_service_pb2_grpc import add_DataProxyServiceServicer_to_server
from flyteidl2.project.project_service_pb2_grpc import add_ProjectServiceServicer_to_server
from flyteidl2.secret.secret_pb2_grpc import add_SecretServiceServicer_to_server
from flyteidl2.task.task_service_pb2_grpc import add_TaskServiceServicer_to_server
from flyteidl2.trigger.trigger_service_pb2_grpc import add_TriggerServiceServicer_to_server
from flyteidl2.workflow.run_service_pb2_grpc import add_RunServiceServicer_to_server

from flyte._core.clock import Clock, SystemClock
from flyte._core.home import home_dir
from flyte._core.log import logger
from flyte._core.trees import machine_bytes, processors
from flyte._core.version import VERSION

from ._connect import ConnectServices
from ._dispatch import Dispatcher
from ._files import FileServer
from ._http import HttpServer
from ._intake import Intake, Specs
from ._lifecycle import read_endpoint, take_lock
from ._reading import Reader
from ._refusal import Code, Refusal
from ._schedule import Scheduler
from ._services.admin import AuthMetadata, Clusters, Identities, Projects, Secrets
from ._services.catalog import Catalog, Tasks, Triggers
from ._services.data import Data
from ._services.runs import Actions, Runs
from ._store import Store
from ._watch import Changes
from .executors.executor import Executor
from .executors.process import ProcessExecutor
from .executors.zygote import is_possible

_STATUSES = {
    Code.INVALID: grpc.StatusCode.INVALID_ARGUMENT,
    Code.MISSING: grpc.StatusCode.NOT_FOUND,
    Code.EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    Code.PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    Code.ABORTED: grpc.StatusCode.ABORTED,
}
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # Clients ask whether the connection is alive as often as they like: it is the same machine.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
]
_FIRST_PROJECT = "flytesnacks"


class AlreadyRunning(Exception):
    """Another devbox has this folder; the message says which."""


class Gate(grpc.aio.ServerInterceptor):
    """Lets in who shows the token, and turns refusals into statuses.

    :param admit: whether a caller that shows this ``authorization`` is let in.
    """

    def __init__(self, admit: Callable[[str], bool]) -> None:
        self._admit = admit
        self._opened: dict[str, Any] = {}

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Wrap a call."""
        handler = await continuation(handler_call_details)
        shown = next(
            (value for key, value in handler_call_details.invocation_metadata or () if key == "authorization"), ""
        )
        if not self._admit(str(shown)):
            return _closed(handler)
        if handler is None:
            return None
        method = handler_call_details.method
        opened = self._opened.get(method)
        if opened is None:
            opened = self._opened[method] = _opened(handler)
        return opened


def _admission(token: str | None) -> Callable[[str], bool]:
    """Whether what a caller shows is ``Bearer <token>``; anything will do if there is no token."""
    if token is None:
        return lambda shown: True
    wanted = f"Bearer {token}".encode()
    return lambda shown: hmac.compare_digest(shown.encode(), wanted)


def _closed(handler: Any) -> Any:
    async def refuse(_: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNAUTHENTICATED, "the devbox wants its token, which lies in devbox/token of FLYTE_HOME"
        )

    if handler is not None and handler.response_streaming:

        async def refuse_stream(request: Any, context: Any) -> AsyncIterator[Any]:
            await refuse(request, context)
            yield None

        return grpc.unary_stream_rpc_method_handler(refuse_stream)
    return grpc.unary_unary_rpc_method_handler(refuse)


def _opened(handler: Any) -> Any:
    if handler.request_streaming:
        return handler
    coders = {
        "request_deserializer": handler.request_deserializer,
        "response_serializer": handler.response_serializer,
    }
    if handler.response_streaming:

        async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for answer in handler.unary_stream(request, context):
                    yield answer
            except Refusal as refusal:
                await context.abort(_STATUSES[refusal.code], str(refusal))

        return grpc.unary_stream_rpc_method_handler(stream, **coders)

    async def call(request: Any, context: Any) -> Any:
        try:
            return await handler.unary_unary(request, context)
        except Refusal as refusal:
            await context.abort(_STATUSES[refusal.code], str(refusal))

    return grpc.unary_unary_rpc_method_handler(call, **coders)


class Devbox:
    """An embedded control plane.

    :param folder: where everything of it is, a folder ``devbox`` in a state folder; in the user's if not given.
    :param executor: runs attempts; processes of this machine if not given.
    :param warm: fork these processes from one that is loaded already; not for an executor that is given.
    :param places: how many attempts may work at the same time; twice the processors, at least 4, if not given.
    :param cpus: processors that these attempts may ask for together; as many as there are if not given.
    :param memory_bytes: memory that they may ask for together; as much as there is if not given.
    :param port: where to listen; where it last did if that is free, else anywhere, if not given.
    :param clock: when triggers fire; the machine's own if not given.
    :param guarded: whether callers must show the token. Without it every process of this machine may run what it likes
        as the user; the published SDK shows no token to a server without TLS, so it needs that.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        executor: Executor | None = None,
        places: int | None = None,
        cpus: float | None = None,
        memory_bytes: int | None = None,
        port: int = 0,
        clock: Clock | None = None,
        guarded: bool = True,
        warm: bool = True,
    ) -> None:
        self.folder = (folder or home_dir() / "devbox").resolve()
        self.endpoint = ""
        self._executor = executor or ProcessExecutor(warm=warm)
        self._warm = warm and executor is None and is_possible()
        self._places = places or max(4, 2 * processors())
        self._cpus = cpus or float(processors())
        self._memory_bytes = memory_bytes or machine_bytes()
        self._port = port
        self._clock = clock or SystemClock()
        self._guarded = guarded
        self._lock = -1
        self._tasks: list[asyncio.Task[None]] = []
        self._server: Any = None

    async def start(self) -> None:
        """Take the folder, go on with what an earlier devbox left, and listen.

        :raises AlreadyRunning: another devbox has the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._take_lock()
        await self._executor.open()
        last = read_endpoint(self.folder) or {}
        self.store = Store(self.folder / "devbox.db")
        key = self.store.setting("signing_key", lambda: secrets.token_hex(32))
        self.token = self._token()
        self.files = FileServer(bytes.fromhex(key))
        admit = _admission(self.token if self._guarded else None)
        self._connect = ConnectServices(admit)
        self._http = HttpServer(
            {"PUT": self.files.put, "GET": self.files.get, "HEAD": self.files.get, "POST": self._connect.post}
        )
        await self._http.start(int(last.get("http_port", 0)))
        self.files.origin = f"http://127.0.0.1:{self._http.port}"
        self._server = grpc.aio.server(interceptors=[Gate(admit)], options=_OPTIONS)
        # Attempts that outlived the last devbox know its address, so it is kept if it can be.
        port = self._listen([self._port] if self._port else [int(last.get("port", 0)), 0])
        self.endpoint = f"127.0.0.1:{port}"
        self._compose()
        await self._seed()
        self._resume()
        await self._server.start()
        self._write_endpoint(port)
        self.scheduler = Scheduler(self.catalog, self.intake, self._clock)
        self._tasks += [asyncio.create_task(self.dispatcher.sweep()), asyncio.create_task(self.scheduler.run())]

    def _compose(self) -> None:
        changes = Changes()
        specs = Specs(self.store)
        kept = Secrets(self.store)
        data_folder = self.folder / "data"
        data_folder.mkdir(exist_ok=True, mode=0o700)
        self.dispatcher = Dispatcher(
            self.store,
            changes,
            self._executor,
            folder=self.folder / "attempts",
            places=self._places,
            cpus=self._cpus,
            memory_bytes=self._memory_bytes,
            variables=self._variables(),
            specs=specs.get,
            secrets=kept.variables,
            secret_files=kept.files,
        )
        self.intake = Intake(self.store, self.dispatcher, specs, data_folder.as_uri())
        self.catalog = Catalog(self.store, specs)
        user = _user()
        reader = Reader(self.store, specs, user)
        runs = Runs(self.store, changes, self.dispatcher, self.intake, reader, self.catalog)
        data = Data(self.store, self.intake, reader, self.catalog, self.files, data_folder)
        served: list[tuple[Any, Any]] = [
            (add_RunServiceServicer_to_server, runs),
            (
                add_ActionsServiceServicer_to_server,
                Actions(runs, self.store, changes, self.dispatcher, self.intake),
            ),
            (add_DataProxyServiceServicer_to_server, data),
            (add_TaskServiceServicer_to_server, Tasks(self.catalog)),
            (add_TriggerServiceServicer_to_server, Triggers(self.catalog)),
            (add_SecretServiceServicer_to_server, kept),
            (add_ProjectServiceServicer_to_server, Projects(self.store)),
            (add_ClusterServiceServicer_to_server, Clusters()),
            (add_IdentityServiceServicer_to_server, Identities(user)),
            (add_AuthMetadataServiceServicer_to_server, AuthMetadata()),
        ]
        for add, servicer in served:
            add(servicer, self._server)
            add(servicer, self._connect)

    def _variables(self) -> dict[str, str]:
        """What every attempt is told of this control plane; the token itself stays in its file."""
        return {
            "_U_EP_OVERRIDE": self.endpoint,
            "_U_INSECURE": "true",
            "_U_USE_ACTIONS": "1",
            "FLYTE_HOME": str(self.folder.parent),
        }

    async def _seed(self) -> None:
        await self.store.write(
            (
                "INSERT OR IGNORE INTO project VALUES (?, ?, '', ?, 0, ?)",
                (_FIRST_PROJECT, _FIRST_PROJECT, b"", time.time()),
            )
        )

    def _resume(self) -> None:
        left = self.intake.load()
        self.dispatcher.resume(left)
        if left:
            logger.warning("going on with %d actions that an earlier devbox left", len(left))

    # Files of its own -------------------------------------------------------------------------------------------------

    def _take_lock(self) -> None:
        self._lock = take_lock(self.folder)
        if self._lock < 0:
            where = (read_endpoint(self.folder) or {}).get("endpoint", "an address that it has not said yet")
            raise AlreadyRunning(f"a devbox runs already for {self.folder}, at {where}")

    def _token(self) -> str:
        path = self.folder / "token"
        with contextlib.suppress(FileNotFoundError):
            token = path.read_text().strip()
            if token and path.stat().st_mode & 0o077 == 0:
                return token
        token = secrets.token_urlsafe(32)
        _write_private(path, token)
        return token

    def _listen(self, ports: list[int]) -> int:
        for port in ports:
            with contextlib.suppress(RuntimeError):
                bound: int = self._server.add_insecure_port(f"127.0.0.1:{port}")
                if bound:
                    return bound
        raise RuntimeError(f"port {ports[0]} of 127.0.0.1 is taken; choose another with --port, or none for any")

    def _write_endpoint(self, port: int) -> None:
        says = {
            "endpoint": f"dns:///{self.endpoint}",
            "port": port,
            "http_port": self._http.port,
            "insecure": True,
            "token_file": str(self.folder / "token"),
            "pid": os.getpid(),
            "version": VERSION,
            "warm": self._warm,
            "started_at": time.time(),
        }
        _write_private(self.folder / "endpoint.json", json.dumps(says, indent=1) + "\n")

    async def close(self, *, withdraw: bool = False) -> None:
        """Stop listening and let go of everything.

        :param withdraw: end the attempts that run; the next devbox makes others, and no retry is used up. Without it
            they go on, and the next devbox finds them again.
        """
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.stop(grace=0.5)
        if hasattr(self, "_http"):
            await self._http.close()
        if hasattr(self, "dispatcher"):
            if withdraw:
                await self.dispatcher.withdraw()
            await self.dispatcher.close()
        await self._executor.close()
        if hasattr(self, "store"):
            self.store.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or none."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(unfinished, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w") as file:
        file.write(text)
    unfinished.replace(path)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


async def serve(devbox: Devbox) -> None:
    """Run a devbox until the process is told to end.

    :raises RuntimeError: its database cannot be written any more. What runs goes on, for the next devbox to find.
    """
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    told = False
    try:
        await devbox.start()
        logger.info("the devbox listens on %s", devbox.endpoint)
        waiting: set[asyncio.Future[Any]] = {loop.create_task(ended.wait()), devbox.dispatcher.broken}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        told = ended.is_set()
        if devbox.dispatcher.broken.done():
            devbox.dispatcher.broken.result()
    finally:
        await devbox.close(withdraw=told)
