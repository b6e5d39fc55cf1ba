"""The ActionsService as the controller in a container uses it (wire-protocol section 6.3, 6.4, 6.8)."""

import enum
from collections.abc import AsyncIterator
from typing import Any

from flyte.errors import UnionRpcError

from ._client import Client

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
    "ALREADY_EXISTS": Outcome.STARTED,
    "RESOURCE_EXHAUSTED": Outcome.BUSY,
    "INVALID_ARGUMENT": Outcome.REFUSED,
    "NOT_FOUND": Outcome.REFUSED,
    "ABORTED": Outcome.RUN_ENDED,
}


class WatchBroken(Exception):
    """The stream of news has ended; another one is to be opened."""


class ActionsClient:
    """Starts, watches and aborts the children of an action.

    :param client: of the control plane; one that does not retry, because the controller does.
    """

    def __init__(self, client: Client) -> None:
        self._client = client

    async def enqueue(self, request: Any) -> tuple[Outcome, str]:
        """Ask for an action; gives what became of it, and the control plane's words."""
        try:
            await self._client.actions.Enqueue(request, timeout=ENQUEUE_DEADLINE_S)
        except UnionRpcError as error:
            return _OUTCOMES.get(error.code, Outcome.AGAIN), str(error)
        return Outcome.STARTED, ""

    async def watch(self, request: Any, idle_s: float) -> AsyncIterator[Any]:
        """The messages of one stream.

        :param idle_s: how long it may be silent before it counts as broken: what was lost comes with the next snapshot.
        :raises WatchBroken: it has ended, or was silent for too long.
        """
        try:
            async for message in self._client.actions.WatchForUpdates(request, idle_timeout_s=idle_s):
                yield message
        except UnionRpcError as error:
            raise WatchBroken(str(error)) from None
        raise WatchBroken("the control plane ended the stream")

    async def abort(self, request: Any) -> None:
        """Ask for the end of an action and all below it; one that is not there needs no ending.

        :raises WatchBroken: the request did not get through.
        """
        try:
            await self._client.actions.Abort(request, timeout=ABORT_DEADLINE_S)
        except UnionRpcError as error:
            if error.code not in ("NOT_FOUND", "FAILED_PRECONDITION"):
                raise WatchBroken(str(error)) from None

    async def close(self) -> None:
        """Close the connection of the running event loop."""
        await self._client.close()
