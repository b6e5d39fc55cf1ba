"""The seam between a task's call and whatever runs it.

A :class:`Controller` gets every call that is made inside a run. The local controller runs it in this process, the
remote one hands it to a control plane, and a user may install a third: ``flyte.with_runcontext(controller=...)``.
"""

import asyncio
import concurrent.futures
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from flyte.errors import RuntimeSystemError

from .context import TaskContext, current
from .identity import ActionID, ActionPhase

if TYPE_CHECKING:
    from collections.abc import Callable


class Callee(Protocol):
    """What a controller may know of a task without naming the room that defines it."""

    name: str
    short_name: str


class Controller(ABC):
    """Dispatches the calls of tasks.

    Only :meth:`submit` must be written. To add to the local behaviour rather than replace it, derive from
    ``flyte.extend.LocalController`` and call ``super().submit(...)``.
    """

    @abstractmethod
    async def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run ``task`` as a child of the current action and return what it returns.

        ``flyte.ctx()`` is the caller's context; when a run starts, its root task comes through here too.

        :raises Exception: what the task's body raised.
        """

    def submit_sync(self, task: Any, /, *args: Any, **kwargs: Any) -> "concurrent.futures.Future[Any]":
        """Start ``task`` from a thread without an event loop; the future gives its result.

        The default hands the call to :meth:`submit` on the run's event loop.

        :raises RuntimeSystemError: called on the run's own event-loop thread, which would wait for itself.
        """
        context = current.get()
        if context is None:
            raise RuntimeSystemError("NoController", "submit_sync() was called outside a run")
        return asyncio.run_coroutine_threadsafe(self.submit(task, *args, **kwargs), context.execution.loop)

    async def trace(self, function: "Callable[..., Any]", /, *args: Any, **kwargs: Any) -> Any:
        """Run a function decorated with ``flyte.trace``; the default only calls it."""
        result = function(*args, **kwargs)
        return await result if hasattr(result, "__await__") else result

    async def finalize(self, action: ActionID) -> None:  # noqa: B027 - a hook that most controllers do not need
        """The action has ended and will make no more calls."""

    async def stop(self) -> None:  # noqa: B027 - a hook that most controllers do not need
        """The run has ended; release what is held for it."""


class Recorder(Protocol):
    """Is told what happens to each action of a run: a progress view, a journal."""

    def action_started(self, context: TaskContext) -> None:
        """An attempt of an action begins; called once an attempt."""
        ...

    def action_finished(self, context: TaskContext, phase: ActionPhase, error: BaseException | None) -> None:
        """An action has ended for good, in a terminal phase."""
        ...
