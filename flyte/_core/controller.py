"""The seams around a task's call: who runs it, and who is told.

A :class:`Controller` gets every call that is made inside a run. The local controller runs it in this process, the
remote one hands it to a control plane, and a user may install a third: ``flyte.with_runcontext(controller=...)``.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from .identity import ActionID, ActionPhase


class Controller(ABC):
    """Dispatches the calls of tasks.

    Only :meth:`submit` must be written. To add to the local behaviour rather than replace it, derive from
    ``flyte.extend.LocalController`` and call ``super().submit(...)``. Blocking calls, from sync tasks, are handed to
    :meth:`submit` on the run's event loop by the task that makes them.
    """

    @abstractmethod
    def submit(self, task: Any, /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the current action and return what it returns; usually an ``async def``.

        ``flyte.ctx()`` is the caller's context. When a run starts, its root task comes through here too.

        :raises Exception: what the task's body raised.
        """

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run an async function decorated with ``flyte.trace``; the default only calls it."""
        return await function(*args, **kwargs)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync function decorated with ``flyte.trace``; the default only calls it."""
        return function(*args, **kwargs)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Run an async generator decorated with ``flyte.trace``; the default only calls it."""
        items: AsyncIterator[Any] = function(*args, **kwargs)
        return items

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Run a generator decorated with ``flyte.trace``; the default only calls it."""
        items: Iterator[Any] = function(*args, **kwargs)
        return items

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Register a condition of the current action: what is given back, when called, waits for its value.

        :param condition: what ``flyte.new_condition`` made.
        :raises NotImplementedError: this controller cannot wait for people, as is the default.
        """
        raise NotImplementedError(
            f"condition {condition.name!r} cannot wait here: {type(self).__name__} does not implement condition(); "
            "derive from flyte.extend.LocalController, or write the method"
        )

    async def finalize(self, action: "ActionID") -> None:  # noqa: B027 - a hook that most controllers do not need
        """The action has ended and will make no more calls."""

    async def stop(self) -> None:  # noqa: B027 - a hook that most controllers do not need
        """The run has ended; release what is held for it."""


class RecordedAction(Protocol):
    """What a recorder may ask of an action; fulfilled by ``TaskContext``."""

    attempt_number: int

    @property
    def name(self) -> str:
        """Name of the action, unique in its run."""
        ...

    @property
    def task_name(self) -> str:
        """Full name of the task."""
        ...

    @property
    def group(self) -> str | None:
        """Name of the group that its own calls belong to."""
        ...

    @property
    def parent(self) -> "RecordedAction | None":
        """The action that called it; of the root, the run itself, which has no parent and an empty task name."""
        ...


class Recorder(Protocol):
    """Is told what happens to each action of a run: a progress view, a journal. Called on any of the run's threads."""

    def action_started(self, action: RecordedAction) -> None:
        """An attempt of an action begins; called once an attempt."""
        ...

    def action_finished(self, action: RecordedAction, phase: "ActionPhase", error: BaseException | None) -> None:
        """An action has ended for good, in a terminal phase."""
        ...
