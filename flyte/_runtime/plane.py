"""The way from a container to its control plane, taken when a task first calls another one.

A task that calls none loads no gRPC and opens no connection.
"""

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from flyte._core.command import Command
from flyte._core.controller import Controller
from flyte._definition.task import TaskTemplate

if TYPE_CHECKING:
    from flyte._core.code_bundle import CodeBundle


class PlaneController(Controller):
    """Hands calls to the control plane that the process environment names.

    :param command: what the container was told to run.
    :param bundle: the code that it runs from.
    """

    def __init__(self, command: Command, bundle: "CodeBundle | None") -> None:
        self._command = command
        self._bundle = bundle
        self._inner: Any = None
        self._client: Any = None

    def submit(self, task: TaskTemplate[Any, Any, Any], /, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        """Run ``task`` as a child of the running action.

        :raises flyte.errors.InitializationError: the environment names no control plane.
        """
        call: Coroutine[Any, Any, Any] = self._connected().submit(task, *args, **kwargs)
        return call

    def _connected(self) -> Any:
        if self._inner is None:
            from .children import connect

            self._inner, self._client = connect(self._command, self._bundle)
        return self._inner

    async def trace(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced function as a step that the control plane knows of."""
        return await self._connected().trace(function, *args, **kwargs)

    def trace_sync(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a sync traced function as a step."""
        return self._connected().trace_sync(function, *args, **kwargs)

    def trace_async_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced async generator as a step."""
        return self._connected().trace_async_items(function, *args, **kwargs)

    def trace_items(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a traced generator as a step."""
        return self._connected().trace_items(function, *args, **kwargs)

    async def condition(self, condition: Any, /) -> Callable[[], Coroutine[Any, Any, Any]]:
        """Let the control plane wait for an answer."""
        wait: Callable[[], Coroutine[Any, Any, Any]] = await self._connected().condition(condition)
        return wait

    async def stop(self) -> None:
        """The action has ended: streams and connection are closed."""
        if self._inner is not None:
            await self._inner.stop()
            await self._client.close()
