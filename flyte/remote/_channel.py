"""The one gRPC channel to a control plane: TLS, deadlines, keepalive, retries, request ids, and one error a status.

A :class:`Channel` stands where the generated stubs expect a ``grpc.aio.Channel``, so every service is called through
it. gRPC's own channel belongs to an event loop, so there is one below for each loop that calls, and it is closed when
the loop is. Tokens come from a :class:`Credentials`, which this module knows nothing more of.
"""

import asyncio
import random
import re
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from flyte._core.context import current
from flyte._core.log import logger
from flyte.errors import RPC_ERRORS, RpcThrottledError, RpcTimeoutError, UnionRpcError

from ._connection import Connection
from ._grpc import grpc
from ._line import find_trust, open_line

Headers = Sequence[tuple[str, str]]
_RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL}
_LONGEST_DETAILS = 2000
_END: Any = vars(grpc.aio)["EOF"]  # its type is not known to every checker

_REMEDIES = {
    "UNAVAILABLE": "check that the control plane runs and that this machine can reach it",
    "UNAUTHENTICATED": "log in again, or check the credentials in 'flyte get config --explain'",
    "PERMISSION_DENIED": "ask for the permission, or check with 'flyte whoami' who you are",
    "UNIMPLEMENTED": "the control plane does not have this call; it may be older than this client",
    "DEADLINE_EXCEEDED": "try again, or give the call more time",
    "RESOURCE_EXHAUSTED": "try again later, or with less at once",
}


_LASTING = {
    "WRONG_VERSION_NUMBER": "it does not speak TLS there: connect with insecure=True (--insecure, admin.insecure)",
    "CERTIFICATE_VERIFY_FAILED": "this machine does not trust its certificate: give ca_cert_file_path "
    "(admin.caCertFilePath), or check the endpoint",
    "Hostname Verification Check failed": "its certificate is for another name: check the endpoint",
    "http1.x server": "it speaks HTTP/1 there, not gRPC: check the endpoint and its port",
}
"""What gRPC says of a connection that will not come about however often it is tried -> what to do."""


class Credentials(Protocol):
    """What makes a call ours."""

    async def headers(self) -> Headers:
        """The headers that a call carries now; they may be empty."""
        ...

    async def renew(self, refused: Headers, may_ask: bool) -> bool:
        """The server did not take ``refused``: get others.

        :param may_ask: whether a person may be asked to log in.
        :returns: whether there are others now, so that the call may be repeated.
        """
        ...

    def has_any(self) -> bool:
        """Whether there is a token at all."""
        ...


class NoCredentials:
    """Calls without any credentials."""

    async def headers(self) -> Headers:
        """None."""
        return ()

    async def renew(self, refused: Headers, may_ask: bool) -> bool:
        """There are no others."""
        return False

    def has_any(self) -> bool:
        """Never."""
        return False


# One call -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Budget:
    """What is left of a call's time and attempts."""

    deadline: float | None
    retries: int
    throttled_s: float
    renewals: int = 1
    attempts: int = 0
    failures: int = 0
    slowdowns: int = 0

    def left_s(self) -> float | None:
        return None if self.deadline is None else self.deadline - time.monotonic()

    def extend(self, by_s: float) -> None:
        if self.deadline is not None:
            self.deadline += by_s


class Channel:
    """The channel to one control plane, for any number of event loops.

    :param connection: where it is and how to get there.
    :param credentials: what its calls carry; without, nothing.
    :param retried: whether calls are retried here; a caller with a policy of its own says no.
    """

    def __init__(self, connection: Connection, credentials: Credentials | None = None, *, retried: bool = True) -> None:
        self.connection = connection
        self.credentials = credentials or NoCredentials()
        self.retried = retried
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line] = WeakKeyDictionary()

    # What a generated stub asks for.

    def unary_unary(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> "UnaryCall":
        """The call of ``method``."""
        return UnaryCall(self, method, request_serializer, response_deserializer)

    def unary_stream(self, method: str, request_serializer: Any, response_deserializer: Any, **_: Any) -> "StreamCall":
        """The call of ``method``, which answers with a stream."""
        return StreamCall(self, method, request_serializer, response_deserializer)

    def stream_unary(self, method: str, *_args: Any, **_kwargs: Any) -> Callable[..., Any]:
        """Streams of requests are spoken between parts of a control plane only."""

        def refuse(*_a: Any, **_k: Any) -> Any:
            raise NotImplementedError(f"{method} takes a stream of requests, which no client of this package sends")

        return refuse

    stream_stream = stream_unary

    async def line(self) -> grpc.aio.Channel:
        """gRPC's channel for the running event loop."""
        loop = asyncio.get_running_loop()
        if (line := self._lines.get(loop)) is not None:
            return line.channel
        secure = None
        if not self.connection.insecure:
            secure = await asyncio.to_thread(find_trust, self.connection)
            if (line := self._lines.get(loop)) is not None:  # made meanwhile by another call
                return line.channel
        channel = open_line(self.connection, secure)
        keeper = self._keep(loop, channel)
        await anext(keeper)
        self._lines[loop] = _Line(channel, keeper)
        return channel

    async def _keep(
        self, loop: asyncio.AbstractEventLoop, channel: grpc.aio.Channel
    ) -> AsyncGenerator[grpc.aio.Channel, None]:
        # An event loop ends the async generators that are left when it closes: the only word that it gives before.
        try:
            yield channel
        finally:
            self._lines.pop(loop, None)
            await channel.close()

    async def close(self) -> None:
        """Close what belongs to the running event loop. A later call opens it again."""
        line = self._lines.get(asyncio.get_running_loop())
        if line is not None:
            await line.keeper.aclose()

    # Shared by both kinds of call.

    def budget(self, timeout_s: float | None) -> _Budget:
        """What a call may use that starts now."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        return _Budget(deadline, self.connection.retries if self.retried else 0, self.connection.limits.throttled_s)

    async def recover(
        self, error: grpc.aio.AioRpcError, budget: _Budget, method: str, request_id: str, headers: Headers
    ) -> None:
        """Wait until the call may be repeated, and return.

        :raises UnionRpcError: it must not be repeated.
        """
        code = error.code()
        budget.attempts += 1
        if _is_about_credentials(error, self.credentials) and budget.renewals:
            budget.renewals -= 1
            since = time.monotonic()
            # Nobody is asked to log in because a permission is missing, or a server has a fault of its own.
            may_ask = code is grpc.StatusCode.UNAUTHENTICATED or (
                code is grpc.StatusCode.PERMISSION_DENIED and not self.credentials.has_any()
            )
            if await self.credentials.renew(headers, may_ask):
                budget.extend(time.monotonic() - since)
                return
        asked_s = asked_delay_s(error)
        # A server may forbid to repeat a call with a negative delay.
        forbidden = asked_s is not None and asked_s < 0
        throttled = code is grpc.StatusCode.RESOURCE_EXHAUSTED or (asked_s is not None and code in _RETRIED)
        if throttled and not forbidden and self.retried and not _is_too_large(error):
            delay_s = asked_s if asked_s is not None else self._backoff_s(budget.slowdowns)
            budget.slowdowns += 1
            budget.throttled_s -= delay_s
            if budget.throttled_s >= 0:
                budget.extend(delay_s)
                logger.debug("%s: asked to slow down, waiting %.2f s", method, delay_s)
                # At least what was asked for, and not all clients at the same moment.
                await asyncio.sleep(delay_s * random.uniform(1.0, 1.2))
                return
        elif code in _RETRIED and not forbidden and _lasting_remedy(error) is None and budget.failures < budget.retries:
            delay_s = self._backoff_s(budget.failures) * random.uniform(0.5, 1.5)
            left_s = budget.left_s()
            budget.failures += 1
            if left_s is None or delay_s < left_s:
                logger.debug("%s: %s, attempt %d in %.2f s", method, code.name, budget.failures + 1, delay_s)
                await asyncio.sleep(delay_s)
                return
        raise self.failure(error, method, request_id, headers, budget) from None

    def _backoff_s(self, failures: int) -> float:
        limits = self.connection.limits
        return min(limits.backoff_cap_s, limits.backoff_first_s * 2.0**failures)

    def failure(
        self, error: grpc.aio.AioRpcError, method: str, request_id: str, headers: Headers, budget: _Budget
    ) -> UnionRpcError:
        """The exception for a call that failed."""
        code = error.code().name
        details = (error.details() or "no details").strip()
        for name, value in headers:
            # A server that repeats what it was sent must not put a token into a log.
            secret = value.removeprefix("Bearer ")
            if len(secret) > 3 and name != "x-request-id":
                details = details.replace(secret, "***")
        details = "".join(one if one.isprintable() or one in "\n\t" else " " for one in details[:_LONGEST_DETAILS])
        after = f" after {budget.attempts} attempts" if budget.attempts > 1 else ""
        remedy = _lasting_remedy(error) or _REMEDIES.get(code)
        message = (
            f"{_short(method)} at {self.connection.endpoint} failed{after}: {code}: {details}"
            f"{'; ' + remedy if remedy else ''} (request id {request_id})"
        )
        raised = RPC_ERRORS[code](code, message)
        if isinstance(raised, RpcThrottledError) and _is_too_large(error):
            raised.kind = "user"
        return raised


@dataclass(slots=True)
class _Line:
    channel: grpc.aio.Channel
    keeper: AsyncGenerator[grpc.aio.Channel, None]


class UnaryCall:
    """A method with one answer."""

    def __init__(self, channel: Channel, method: str, serializer: Any, deserializer: Any) -> None:
        self._channel = channel
        self._method = method
        self._codec = {"request_serializer": serializer, "response_deserializer": deserializer}

    async def __call__(self, request: Any, *, timeout: float | None = None, metadata: Headers = ()) -> Any:
        """Call it and give the answer.

        :param timeout: in seconds, retries included; default ``Limits.call_s``. Waits that the server asks for, and a
            login, do not count.
        :param metadata: more headers.
        :raises UnionRpcError: it failed; the class says how, see ``flyte.errors.RPC_ERRORS``.
        """
        channel, method = self._channel, self._method
        request_id = new_request_id()
        headers = await channel.credentials.headers()
        line = await channel.line()
        budget = channel.budget(channel.connection.limits.call_s if timeout is None else timeout)
        while True:
            call = line.unary_unary(method, **self._codec)
            left_s = budget.left_s()
            try:
                return await call(
                    request,
                    timeout=max(left_s, 0.001) if left_s is not None else None,
                    metadata=(("x-request-id", request_id), *headers, *metadata),
                )
            except grpc.aio.AioRpcError as error:
                await channel.recover(error, budget, method, request_id, headers)
            headers = await channel.credentials.headers()


class StreamCall:
    """A method that answers with a stream."""

    def __init__(self, channel: Channel, method: str, serializer: Any, deserializer: Any) -> None:
        self._channel = channel
        self._method = method
        self._codec = {"request_serializer": serializer, "response_deserializer": deserializer}

    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,
        metadata: Headers = (),
        idle_timeout_s: float | None = None,
    ) -> AsyncIterator[Any]:
        """Call it and iterate over what it answers.

        Opening it is retried; once something has arrived, a failure is raised, and the caller knows where to go on.

        :param timeout: in seconds, for the whole stream; default none, for a stream may be quiet for hours. Keepalive
            notices a connection that died.
        :param idle_timeout_s: the longest silence, after which the stream is given up; default none.
        :raises UnionRpcError: it failed; the class says how, see ``flyte.errors.RPC_ERRORS``.
        """
        channel, method = self._channel, self._method
        request_id = new_request_id()
        headers = await channel.credentials.headers()
        line = await channel.line()
        budget = channel.budget(timeout)
        while True:
            arrived = False
            await self._reach(line, request_id)
            call = line.unary_stream(method, **self._codec)(
                request,
                timeout=budget.left_s(),
                metadata=(("x-request-id", request_id), *headers, *metadata),
            )
            try:
                while True:
                    async with asyncio.timeout(idle_timeout_s):
                        message = await call.read()
                    if message is _END:
                        return
                    arrived = True
                    yield message
            except TimeoutError:
                raise RpcTimeoutError(
                    "DEADLINE_EXCEEDED",
                    f"{_short(method)} at {channel.connection.endpoint}: nothing arrived in {idle_timeout_s:g} s "
                    f"(request id {request_id})",
                ) from None
            except grpc.aio.AioRpcError as error:
                if arrived:
                    raise channel.failure(error, method, request_id, headers, budget) from None
                await channel.recover(error, budget, method, request_id, headers)
            finally:
                call.cancel()
            headers = await channel.credentials.headers()

    async def _reach(self, line: grpc.aio.Channel, request_id: str) -> None:
        """Wait until there is a connection, or none to be had, which the call then says."""
        limit_s = self._channel.connection.limits.call_s
        busy = (grpc.ChannelConnectivity.IDLE, grpc.ChannelConnectivity.CONNECTING)
        try:
            async with asyncio.timeout(limit_s):
                while (state := line.get_state(try_to_connect=True)) in busy:
                    await line.wait_for_state_change(state)
        except TimeoutError:
            raise RPC_ERRORS["UNAVAILABLE"](
                "UNAVAILABLE",
                f"{_short(self._method)}: no connection to {self._channel.connection.endpoint} in {limit_s:g} s; "
                f"{_REMEDIES['UNAVAILABLE']} (request id {request_id})",
            ) from None


# What an error says ---------------------------------------------------------------------------------------------------


def _short(method: str) -> str:
    """``RunService.ListRuns`` of ``/flyteidl2.workflow.RunService/ListRuns``."""
    service, _, name = method.rpartition("/")
    return f"{service.rpartition('.')[2]}.{name}"


def _lasting_remedy(error: grpc.aio.AioRpcError) -> str | None:
    if error.code() is not grpc.StatusCode.UNAVAILABLE:
        return None
    details = error.details() or ""
    return next((remedy for words, remedy in _LASTING.items() if words in details), None)


def _is_about_credentials(error: grpc.aio.AioRpcError, credentials: Credentials) -> bool:
    code, details = error.code(), (error.details() or "").lower()
    if code is grpc.StatusCode.UNAVAILABLE:
        # No server said this: gRPC itself calls a certificate for another name "unauthenticated".
        return False
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNKNOWN):
        return True
    if code is grpc.StatusCode.PERMISSION_DENIED and not credentials.has_any():
        return True
    return "unauthenticated" in details or "unauthorized" in details


def _is_too_large(error: grpc.aio.AioRpcError) -> bool:
    details = (error.details() or "").lower()
    return error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details


def asked_delay_s(error: grpc.aio.AioRpcError) -> float | None:
    """How many seconds the server asks to wait; negative if it asks not to try again; None if it says nothing.

    Read from ``grpc-retry-pushback-ms``, ``retry-after-ms``, ``retry-after`` (seconds or a date, RFC 9110) and
    ``google.rpc.RetryInfo``.
    """
    said: dict[str, Any] = {}
    for metadata in (error.initial_metadata(), error.trailing_metadata()):
        said.update({key.lower(): value for key, value in metadata or ()})
    for key in ("grpc-retry-pushback-ms", "retry-after-ms"):
        if key in said:
            milliseconds = _number(said[key])
            # What cannot be read as a number forbids a retry, as gRPC has it.
            return -1.0 if milliseconds is None else milliseconds / 1000
    if "retry-after" in said:
        seconds = _number(said["retry-after"])
        return seconds if seconds is not None else _seconds_until(said["retry-after"])
    if "grpc-status-details-bin" in said:
        return _retry_info_s(said["grpc-status-details-bin"])
    return None


def _number(text: Any) -> float | None:
    return float(text) if isinstance(text, str) and re.fullmatch(r"\s*-?\d{1,12}(\.\d{1,9})?\s*", text) else None


def _seconds_until(text: Any) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _retry_info_s(status: Any) -> float | None:
    from google.protobuf.message import DecodeError
    from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingImports]  # it has no stubs

    try:
        for detail in status_pb2.Status.FromString(status).details:
            info = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                return float(info.retry_delay.seconds) + info.retry_delay.nanos / 1e9
    except (DecodeError, TypeError):
        pass
    return None


def new_request_id() -> str:
    """The id of a call: of the running action and a random part, or all random outside a task."""
    context = current.get()
    if context is None:
        return str(uuid.uuid4())
    action = context.action
    parts = (action.project, action.domain, action.run_name, action.name, uuid.uuid4().hex[:4])
    # Headers are plain ASCII; a local name need not be.
    return re.sub(r"[^!-~]", "_", "-".join(str(part) for part in parts if part))
