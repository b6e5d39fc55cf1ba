"""The ActionsService as the controller in a container uses it (wire-protocol section 6.3, 6.4, 6.8)."""

import asyncio
import enum
from collections.abc import AsyncIterator
from typing import Any

import grpc
from flyteidl2.actions.actions_service_pb2_grpc import ActionsServiceStub

ENQUEUE_DEADLINE_S = 5.0
ABORT_DEADLINE_S = 5.0


class Outcome(enum.Enum):
    """What became of the request to start an action."""

    STARTED = "started"
    """It is there, made now or before."""
    BUSY = "busy"
    """The control plane asks for patience."""
    AGAIN = "again"
    """It is not known whether it arrived; trying again does no harm."""
    REFUSED = "refused"
    """It will never be started."""
    RUN_ENDED = "run ended"
    """The run was aborted."""


_OUTCOMES = {
    grpc.StatusCode.ALREADY_EXISTS: Outcome.STARTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Outcome.BUSY,
    grpc.StatusCode.INVALID_ARGUMENT: Outcome.REFUSED,
    grpc.StatusCode.NOT_FOUND: Outcome.REFUSED,
    grpc.StatusCode.ABORTED: Outcome.RUN_ENDED,
}


class WatchBroken(Exception):
    """The stream of news has ended; another one is to be opened."""


class ActionsClient:
    """Starts, watches and aborts the children of an action.

    :param channel: to the control plane.
    """

    def __init__(self, channel: Any) -> None:
        self._stub: Any = ActionsServiceStub(channel)  # type: ignore[no-untyped-call]

    async def enqueue(self, request: Any) -> tuple[Outcome, str]:
        """Ask for an action; gives what became of it, and the control plane's words."""
        try:
            await self._stub.Enqueue(request, timeout=ENQUEUE_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            said = f"{error.code().name}: {error.details() or 'no details'}"
            return _OUTCOMES.get(error.code(), Outcome.AGAIN), said
        return Outcome.STARTED, ""

    async def watch(self, request: Any, idle_s: float) -> AsyncIterator[Any]:
        """The messages of one stream.

        :param idle_s: how long it may be silent before it counts as broken: what was lost comes with the next snapshot.
        :raises WatchBroken: it has ended, or was silent for too long.
        """
        call = self._stub.WatchForUpdates(request)
        try:
            while True:
                try:
                    message = await asyncio.wait_for(call.read(), idle_s)
                except TimeoutError:
                    raise WatchBroken(f"nothing was heard for {idle_s:g} s") from None
                except grpc.aio.AioRpcError as error:
                    raise WatchBroken(f"{error.code().name}: {error.details() or 'no details'}") from None
                if message is grpc.aio.EOF:
                    raise WatchBroken("the control plane ended the stream")
                yield message
        finally:
            call.cancel()

    async def abort(self, request: Any) -> None:
        """Ask for the end of an action and all below it; one that is not there needs no ending."""
        try:
            await self._stub.Abort(request, timeout=ABORT_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            if error.code() not in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION):
                raise WatchBroken(f"{error.code().name}: {error.details() or 'no details'}") from None
